#!/usr/bin/env bash
# Put on pixels half as wide, a star keeps its counts in SWarp and has four times as many in reproject_exact and in drizzle, which
# both keep surface brightness; a zero point for counts is then 1.5 mag off. Needs SWarp 2.41 (Debian 12: swarp).
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
"$work/venv/bin/pip" --quiet --disable-pip-version-check install reproject==0.21.0 drizzle==3.0.0 astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && cat > common.py <<'PY'
import numpy as np
from astropy.wcs import WCS


def frame(scale, size):
    """A square image's WCS about (150, 2); ``scale`` in degrees a pixel."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = (150, 2), (-scale, scale), ((size + 1) / 2, (size + 1) / 2)
    wcs.array_shape = (size, size)
    return wcs


y, x = np.mgrid[:100, :100]
STAR = np.exp(-((x - 49.5) ** 2 + (y - 49.5) ** 2) / 50).astype(np.float32)
PY
venv/bin/python -c '
from astropy.io import fits
from common import STAR, frame
fits.PrimaryHDU(STAR, frame(2e-4, 100).to_header()).writeto("star.fits")'
SWarp star.fits -VERBOSE_TYPE QUIET -WRITE_XML N -SUBTRACT_BACK N -PIXELSCALE_TYPE MANUAL -PIXEL_SCALE 0.36 -IMAGEOUT_NAME coadd.fits -WEIGHTOUT_NAME coadd.weight.fits > /dev/null 2>&1
cat > look.py <<'PY'
import drizzle
import numpy as np
import reproject
from astropy.io import fits
from common import STAR, frame
from drizzle.resample import Drizzle
from drizzle.utils import calc_pixmap

print("reproject", reproject.__version__, "drizzle", drizzle.__version__)
wide, fine = frame(2e-4, 100), frame(1e-4, 200)
drizzled = Drizzle(kernel="square", out_shape=(200, 200))
drizzled.add_image(STAR, exptime=1.0, pixmap=calc_pixmap(wide, fine))
images = {
    "SWarp": fits.getdata("coadd.fits"),
    "reproject_exact": reproject.reproject_exact((STAR, wide), fine, shape_out=(200, 200))[0],
    "reproject_adaptive, conserve_flux": reproject.reproject_adaptive((STAR, wide), fine, shape_out=(200, 200), conserve_flux=True)[0],
    "drizzle": drizzled.out_img,
}
counts = {name: float(np.nansum(image, dtype=float) / STAR.sum(dtype=float)) for name, image in images.items()}
for name, ratio in counts.items():
    print(f"{name}: {ratio:.4f} of the counts")
assert [round(ratio, 2) for ratio in counts.values()] == [1, 4, 1, 4]
PY
venv/bin/python look.py
