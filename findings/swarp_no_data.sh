#!/usr/bin/env bash
# SWarp says "no data" in three ways and names none in the header: 0 where no image reaches, and -1e30 where RESAMPLE is N; and in
# place of an image's NaN it writes numbers that look like data, which only its own weight of 0 gives away. By default it also subtracts a
# background, so that 0 is the sky as well. Needs SWarp 2.41 (Debian 12: swarp).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install swarp=2.41.5-1+b2 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
SWarp -v
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > make.py <<'PY'
import numpy as np
from astropy.io import fits

image = np.random.default_rng(0).normal(100, 1, (300, 300)).astype(np.float32)
image[100:120, 100:120] = np.nan
header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 150.5, "CRPIX2": 150.5,
                      "CD1_1": -1e-4, "CD2_2": 1e-4, "CUNIT1": "deg", "CUNIT2": "deg", "EXPTIME": 10.0})
fits.PrimaryHDU(image, header).writeto("in.fits")
PY
cat > look.py <<'PY'
import numpy as np
from astropy.io import fits

found = {}
for name in ("resampled", "as_it_lies", "with_sky"):
    with fits.open(f"{name}.fits") as units, fits.open(f"{name}.weight.fits") as weights:
        data, weight, header = units[0].data, weights[0].data, units[0].header
    none = data[weight == 0]
    found[name] = float(np.median(data[weight > 0])), none
    print(f"{name}: data about {found[name][0]:.2f}; {none.size} pixels of weight 0, {(none == 0).sum()} of them 0, from {none.min():.3g} "
          f"to {none.max():.3g}")
    assert np.isfinite(data).all()
    assert "BLANK" not in header
assert abs(found["resampled"][0]) < 0.2
assert abs(found["with_sky"][0] - 100) < 0.2
assert (found["with_sky"][1] == 0).sum() > 300
assert (np.abs(found["with_sky"][1]) > 1).sum() > 20
assert found["as_it_lies"][1].max() < -1e29
PY
venv/bin/python make.py
coadd() { SWarp in.fits -VERBOSE_TYPE QUIET -WRITE_XML N -IMAGEOUT_NAME "$1.fits" -WEIGHTOUT_NAME "$1.weight.fits" "${@:2}" > /dev/null 2>&1; }
coadd resampled
coadd with_sky -SUBTRACT_BACK N
coadd as_it_lies -RESAMPLE N
venv/bin/python look.py
