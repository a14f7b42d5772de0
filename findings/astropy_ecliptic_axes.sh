#!/usr/bin/env bash
# Ecliptic axes (ELON, ELAT; FITS standard, section 8.3) are to astropy right ascension and declination: pixel_to_world gives an ICRS
# position with the ecliptic numbers, without a word. Galactic axes (GLON, GLAT) of the same projection are read as galactic.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" --quiet --disable-pip-version-check install astropy==7.1.0 numpy==2.2.6 2> "$work/pip.log" || { cat "$work/pip.log"; exit 1; }
cd "$work" && venv/bin/python -W error - <<'PY'
import astropy
from astropy.coordinates import BarycentricMeanEcliptic, SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

print("astropy", astropy.__version__)


def middle(lon, lat):
    """The position of the reference pixel, which is (90, 10) degrees of those axes."""
    header = fits.Header({"CTYPE1": f"{lon}-TAN", "CTYPE2": f"{lat}-TAN", "CRVAL1": 90.0, "CRVAL2": 10.0, "CRPIX1": 1.0, "CRPIX2": 1.0,
                          "CDELT1": -1e-3, "CDELT2": 1e-3, "CUNIT1": "deg", "CUNIT2": "deg"})
    return WCS(header).pixel_to_world(0, 0)


galactic, ecliptic = middle("GLON", "GLAT"), middle("ELON", "ELAT")
print("GLON, GLAT:", galactic.frame.name, galactic.to_string())
print("ELON, ELAT:", ecliptic.frame.name, ecliptic.to_string())
assert galactic.frame.name == "galactic"
assert ecliptic.frame.name == "icrs" and abs(ecliptic.ra.deg - 90) < 1e-9 and abs(ecliptic.dec.deg - 10) < 1e-9
off = SkyCoord(90, 10, unit="deg", frame=BarycentricMeanEcliptic).icrs.separation(ecliptic).deg
print(f"that is {off:.1f} degrees from the ecliptic position")
assert off > 20
PY
