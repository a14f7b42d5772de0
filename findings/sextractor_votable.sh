#!/usr/bin/env bash
# A vector such as MAG_APER(3) is declared by SExtractor's VOTable as one float, with three numbers in a cell: astropy gives a
# wholly masked column, without a word. Needs Source Extractor 2.25 (Debian 12: source-extractor).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install source-extractor=2.25.0+ds-3 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
lib=$work/debian/usr/lib/x86_64-linux-gnu
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$lib:$lib/atlas:$lib/blas:$lib/lapack"
source-extractor -v
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python - <<'PY'
import numpy as np
from astropy.io import fits

rng = np.random.default_rng(0)
y, x = np.mgrid[:300, :300]
image = rng.normal(0, 1, (300, 300))
for column, row, peak in zip(rng.uniform(20, 280, 30), rng.uniform(20, 280, 30), rng.uniform(50, 500, 30), strict=True):
    image += peak * np.exp(-((x - column) ** 2 + (y - row) ** 2) / 8)
fits.PrimaryHDU(image.astype(np.float32)).writeto("field.fits")
PY
printf '%s\n' NUMBER 'MAG_APER(3)' FLUX_AUTO > wanted.param
for kind in ASCII_VOTABLE ASCII_HEAD; do
    source-extractor field.fits -c /dev/null -PARAMETERS_NAME wanted.param -FILTER N -CATALOG_TYPE $kind -CATALOG_NAME $kind -PHOT_APERTURES 5,8,12 -VERBOSE_TYPE QUIET
done
grep MAG_APER ASCII_VOTABLE
cat > look.py <<'PY'
import warnings

import astropy
import numpy as np
from astropy.table import Table

print("astropy", astropy.__version__)
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    table = Table.read("ASCII_VOTABLE", format="votable", table_id="Source_List")
text = Table.read("ASCII_HEAD", format="ascii.sextractor")
print(f"VOTable: {len(table)} rows, MAG_APER of {table['MAG_APER'].mask.sum()} rows masked, {len(said)} warnings; as text: {text.colnames}")
assert len(table) == len(text) > 20
assert table["MAG_APER"].mask.all()
assert not said
assert np.allclose(table["FLUX_AUTO"], text["FLUX_AUTO"])
assert np.isfinite(text["MAG_APER"]).all()
PY
venv/bin/python look.py
