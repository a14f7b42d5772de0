"""Fields with a WCS of every kind for tests: a header, an image of stars at given positions, a catalogue beside it."""

import itertools
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from hpc_astrossl.specs.recipe import Recipe
from hpc_astrossl.specs.recipe import load_recipe as load

PARITIES = [(x, y, swap) for x, y, swap in itertools.product((1, -1), (1, -1), (False, True))]
SCALE = 0.4  # arcsec per pixel


def header(shape=(220, 260), centre=(150.0, 2.0), *, turn=0.0, parity=(-1, 1, False), projection="TAN", scale=SCALE):
    """A header with CD; ``parity`` is the sign of x and y and whether they are swapped; ``projection`` as in CTYPE.

    SIP and TPV have distortions of several pixels at the corners; ZPN is that of WFCAM.
    """
    height, width = shape
    cards = fits.Header()
    angle = np.radians(turn)
    x, y, swap = parity
    matrix = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) @ np.diag([x, y])
    matrix = (matrix[:, ::-1] if swap else matrix) * scale / 3600
    kind = {"SIP": "TAN-SIP"}.get(projection, projection)
    for i, axis in enumerate(("RA---", "DEC--")):
        cards[f"CTYPE{i + 1}"] = axis + kind
        cards[f"CUNIT{i + 1}"] = "deg"
        cards[f"CRVAL{i + 1}"] = centre[i]
        cards[f"CRPIX{i + 1}"] = (width, height)[i] / 2 + 0.5
        for j in range(2):
            cards[f"CD{i + 1}_{j + 1}"] = matrix[i, j]
    cards["RADESYS"] = "ICRS"
    if projection == "SIP":
        for name, terms in (("A", {(2, 0): 2e-5, (1, 1): -1e-5, (0, 3): 3e-8}), ("B", {(0, 2): -2e-5, (2, 0): 1e-5})):
            cards[f"{name}_ORDER"] = 3
            for (p, q), value in terms.items():
                cards[f"{name}_{p}_{q}"] = value
    if projection == "TPV":
        for axis in (1, 2):
            cards[f"PV{axis}_0"], cards[f"PV{axis}_1"] = 1e-5, 1.003
            cards[f"PV{axis}_4"], cards[f"PV{axis}_7"] = 0.05, 2.0
    if projection == "ZPN":
        cards["PV2_1"], cards["PV2_3"] = 1.0, -50.0
    return cards


def wcs(cards: fits.Header) -> WCS:
    """By astropy alone, against which ours is held."""
    return WCS(cards, naxis=2)


def stars(shape, positions, flux=1000.0, sigma=2.0, noise=0.0, seed=0) -> np.ndarray:
    """Gaussians at FITS pixels (x, y), of one flux, in FITS rows; float32."""
    rows, columns = np.mgrid[1 : shape[0] + 1, 1 : shape[1] + 1]
    image = np.random.default_rng(seed).normal(0, noise, shape) if noise else np.zeros(shape)
    for x, y in positions:
        image += flux / (2 * np.pi * sigma**2) * np.exp(-((columns - x) ** 2 + (rows - y) ** 2) / (2 * sigma**2))
    return image.astype(np.float32)


def write(path: Path, image: np.ndarray, cards: fits.Header | None = None, **more) -> None:
    """A plain FITS file."""
    cards = fits.Header() if cards is None else cards.copy()
    cards.update(more)
    fits.PrimaryHDU(image, cards).writeto(path, overwrite=True)


def catalogue(folder: Path, ra, dec, name="cat.csv", **columns) -> None:
    """id, ra, dec, mag_r and more; a CSV."""
    columns = {"id": [f"S{i}" for i in range(len(ra))], "ra": [f"{v:.9f}" for v in ra],
               "dec": [f"{v:.9f}" for v in dec], "mag_r": [18.0] * len(ra)} | columns  # fmt: skip
    rows = zip(*columns.values(), strict=True)
    (folder / name).write_text("\n".join([",".join(columns), *(",".join(map(str, row)) for row in rows)]) + "\n")


RECIPE = """
survey: sky
release: test
size: 16
catalogue: {file: cat.csv, format: csv, id: id, ra: ra, dec: dec, bands: [r], magnitude: "mag_{band}"}
fields: {bands: "{field}_{band}.fits", zero_point: 25}
split: {train: 1, validation: 0, test: 0}
stores: {all: {images: bands}}
"""


def recipe(folder: Path, *settings: str) -> Recipe:
    """The recipe above with settings laid over it."""
    path = folder / "recipe.yaml"
    path.write_text(RECIPE)
    return load(path, settings)
