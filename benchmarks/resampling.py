"""What bringing an object to another grid costs, beside reproject: ``python benchmarks/resampling.py [--objects N]``.

One SIP field of 2000 × 2000 pixels; each object is cut to 64 × 64 pixels, north up, by the product's spline and by
reproject's interpolation (bicubic), adaptive and exact methods (which must be installed: ``pip install reproject``).
Told are milliseconds of CPU an object. Writes benchmarks/results/resampling.json.
"""

import argparse
import json
import tempfile
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import numpy as np
from astropy.io import fits
from astropy.nddata import Cutout2D
from astropy.wcs import WCS

from hpc_astrossl.cutting import fits as ours
from hpc_astrossl.cutting.bandimage import BandImage
from hpc_astrossl.cutting.resampling import Grid, north_up, resample

SIDE, SIZE, SCALE = 2000, 64, 0.5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--objects", type=int, default=200)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "field.fits"
        data = np.random.default_rng(0).normal(0, 1, (SIDE, SIDE)).astype(np.float32)
        fits.PrimaryHDU(data, _header()).writeto(path)
        x, y = np.random.default_rng(1).uniform(100, SIDE - 100, (2, options.objects))
        ra, dec = WCS(_header()).all_pix2world(x, y, 1)
        record = {"objects": options.objects, "size": SIZE, "ms_an_object": {"spline": _spline(path, ra, dec)}}
        record["ms_an_object"] |= _reproject(data, np.transpose([x, y]), ra, dec)
    print(json.dumps(record, indent=1))
    (Path(__file__).parent / "results" / "resampling.json").write_text(json.dumps(record, indent=1) + "\n")


def _header() -> fits.Header:
    cards = fits.Header()
    for axis, (kind, value) in enumerate((("RA---TAN-SIP", 150.0), ("DEC--TAN-SIP", 2.0)), start=1):
        cards[f"CTYPE{axis}"], cards[f"CRVAL{axis}"], cards[f"CRPIX{axis}"] = kind, value, SIDE / 2
    for name, value in (("CD1_1", -0.4), ("CD1_2", 0.1), ("CD2_1", 0.1), ("CD2_2", 0.4)):
        cards[name] = value / 3600
    for name, terms in (("A", {"2_0": 2e-6, "1_1": -1e-6}), ("B", {"0_2": -2e-6})):
        cards[f"{name}_ORDER"] = 2
        for term, value in terms.items():
            cards[f"{name}_{term}"] = value
    return cards


def _spline(path: Path, ra: np.ndarray, dec: np.ndarray) -> float:
    grid = Grid(size=SIZE, ra=ra, dec=dec, scale=np.full(len(ra), SCALE), turn=north_up(len(ra)), method="spline")
    spec = SimpleNamespace(pixel_scale=None, no_value=(), mask=None)
    with ours.open_image(path) as image:
        band, out = BandImage(spec, image, {}), np.empty((len(ra), SIZE, SIZE), np.float32)
        return _timed(lambda: resample(band, grid, out), len(ra))


def _reproject(data: np.ndarray, places: np.ndarray, ra: np.ndarray, dec: np.ndarray) -> dict[str, float]:
    try:
        import reproject
    except ImportError:
        return {}
    field = WCS(_header())
    work = {"bicubic": lambda *a: reproject.reproject_interp(*a, order="bicubic"),
            "adaptive": reproject.reproject_adaptive, "exact": reproject.reproject_exact}  # fmt: skip

    def all_by(method):
        for place, a, d in zip(places, ra, dec, strict=True):
            part = Cutout2D(data, tuple(place - 1), 2 * SIZE, field)
            method((part.data, part.wcs), _target(a, d), (SIZE, SIZE))

    return {f"reproject {name}": _timed(partial(all_by, method), len(ra)) for name, method in work.items()}


def _target(ra: float, dec: float) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---TAN", "DEC--TAN"], [ra, dec], [(SIZE + 1) / 2] * 2
    wcs.wcs.cdelt = [-SCALE / 3600, SCALE / 3600]
    return wcs


def _timed(work, count: int) -> float:
    start = time.process_time()
    work()
    return round((time.process_time() - start) / count * 1000, 2)


if __name__ == "__main__":
    main()
