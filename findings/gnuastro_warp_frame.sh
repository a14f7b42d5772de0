#!/usr/bin/env bash
# astwarp --center aligns an image whose header says ICRS and writes FK5 into the new one, without moving the pixels: whoever
# believes the header finds everything 20 to 30 milliarcsec off. Needs Gnuastro 0.19 (Debian 12: gnuastro).
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir "$work/debs" && cd "$work/debs"
apt-get --simulate --no-install-recommends install gnuastro=0.19-1+b2 > plan.txt  # Debian 12; what is not installed is unpacked here alone
sed -nE 's/^Inst ([^ ]+) (\[[^]]*\] )?\(([^ ]+) .*/\1=\3/p' plan.txt | xargs -r apt-get --quiet=2 download
for deb in *.deb; do [ ! -e "$deb" ] || dpkg -x "$deb" "$work/debian"; done
[ ! -d "$work/debian/etc" ] || ln -s "$work/debian/etc" "$work/.gnuastro"  # its defaults are looked for here, too
export PATH="$work/debian/usr/bin:$PATH" LD_LIBRARY_PATH="$work/debian/usr/lib/x86_64-linux-gnu"
astwarp --version | head -1
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > make.py <<'PY'
import numpy as np
from astropy.io import fits

y, x = np.mgrid[1:202, 1:202]
header = fits.Header({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0, "CRPIX1": 101.0, "CRPIX2": 101.0,
                      "CD1_1": -1e-5, "CD2_2": 1e-5, "CUNIT1": "deg", "CUNIT2": "deg", "RADESYS": "ICRS"})
fits.PrimaryHDU(np.exp(-((x - 101) ** 2 + (y - 101) ** 2) / 18).astype(np.float32), header).writeto("in.fits")
PY
cat > look.py <<'PY'
import warnings

import numpy as np
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

warnings.simplefilter("ignore")
with fits.open("out.fits") as units:
    data, header = np.nan_to_num(units[1].data.astype(float)), units[1].header
y, x = np.indices(data.shape)
middle = (data * x).sum() / data.sum(), (data * y).sum() / data.sum()
star = SkyCoord(150.0, 2.0, unit="deg", frame="icrs")
by_header = WCS(header).pixel_to_world(*middle).icrs.separation(star).mas
header["RADESYS"] = "ICRS"
del header["EQUINOX"]
as_icrs = WCS(header).pixel_to_world(*middle).separation(star).mas
print(f"the star is {by_header:.1f} mas off by the new header, {as_icrs:.1f} mas if it said ICRS")
assert by_header > 15
assert as_icrs < 5
PY
venv/bin/python make.py
astwarp in.fits --hdu=0 --quiet --center=150,2 --widthinpix --width=201,201 --output=out.fits
astfits out.fits --hdu=1 --quiet --keyvalue=RADESYS
venv/bin/python look.py
