#!/usr/bin/env bash
# GDAL 3.6, Debian 12's, opens a Zarr v3 store as a group without arrays, exit status 0 and no error: it knows a draft of v3 only, and
# does not say so. The same array as v2 it lists. Needs GDAL 3.6 (Debian 12: gdal-bin).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install gdal-bin=3.6.2+dfsg-1+b2 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
lib=$work/debian/usr/lib
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$lib/x86_64-linux-gnu:$lib:$lib/x86_64-linux-gnu/blas:$lib/x86_64-linux-gnu/lapack"
gdalinfo --version
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install zarr==3.1.6 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import numpy as np
import zarr

print("zarr", zarr.__version__)
for version in (2, 3):
    group = zarr.open_group(f"v{version}.zarr", mode="w", zarr_format=version)
    array = group.create_array("image", shape=(20, 30), chunks=(10, 10), dtype="float32", compressors=None)
    array[:] = np.arange(600).reshape(20, 30)
PY
for version in 2 3; do
    gdalmdiminfo v$version.zarr > said$version.txt 2>&1
    echo "v$version: exit status 0, arrays: $(grep -c '"image"' said$version.txt || true), errors: $(grep -ci error said$version.txt || true)"
done
grep -q '"image"' said2.txt
grep -q '"type": "group"' said3.txt
test "$(grep -ciE 'image|error|warning' said3.txt || true)" = 0
