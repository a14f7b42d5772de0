"""A field's colour picture held against a coadd beside it: the same sky, size and end up, in the same place."""

from pathlib import Path

import numpy as np

from hpc_astrossl.cutting.badfile import RecipeFault
from hpc_astrossl.cutting.fits import Image

ROWS, STRIPS = 24, 9  # of the coadd that are looked at: strips spread over its height
CLEAR = 0.2  # by so much one way must correlate better than the other
TALL, REACH = 128, 40  # rows that are looked at for a shift, and how far, pixels
SEEN = 0.15  # correlation that tells where a picture is
BRIGHT, LIT = 5, 300  # scatters above the middle, and how many such pixels a coadd needs to be known again
OWN = 5  # scatters of the correlation elsewhere by which a picture of the same sky stands out at its place


def hold(path: Path, picture: np.ndarray, coadd: Image, *, top: str | None) -> None:
    """RecipeFault when the picture (height, width, 3) as stored has another size than the coadd, is mirrored or
    shifted, or its rows run the other way than ``top`` (fields.rgb_top; None: high) says."""
    height, width = coadd.shape
    if picture.shape[:2] != coadd.shape:
        raise RecipeFault(f"{path}: is {picture.shape[1]} × {picture.shape[0]} pixels, the coadd {coadd.path.name} is "
                          f"{width} × {height}: a preview of another size; take the full one, or lupton, which makes "
                          "pictures from three bands")  # fmt: skip
    if height < 2 * ROWS:
        return
    picture = picture[::-1] if top == "low" else picture
    found = {}
    for bottom in np.unique(np.linspace(0, height - ROWS, STRIPS).astype(int)):
        strip = np.arcsinh(_scaled(coadd.read(slice(bottom, bottom + ROWS), slice(0, width))))
        above = height - bottom - ROWS
        right, other = picture[above : above + ROWS], picture[bottom : bottom + ROWS]
        for name, one, colours in (("as it is", strip[::-1], right), ("upside down", strip, other),
                                   ("mirrored left to right", strip[::-1, ::-1], right),
                                   ("turned by 180 degrees", strip[:, ::-1], other)):  # fmt: skip
            found.setdefault(name, []).append(_alike(one, colours))
    alike = {name: float(np.nanmedian(values)) for name, values in found.items()}
    best = max(alike, key=alike.get)
    if alike[best] <= alike["as it is"] + CLEAR:
        _hold_place(path, picture, coadd)
        return
    numbers = f"(correlation {alike[best]:.2f} {best}, {alike['as it is']:.2f} as it is)"
    if best != "upside down":
        raise RecipeFault(f"{path}: is {best} against {coadd.path.name} {numbers}; turn the picture's pixels, or take "
                          "lupton, which makes pictures from three bands")  # fmt: skip
    cure = "fields.rgb_top: low, if its top row has the smallest y" if top != "low" else "fields.rgb_top: high"
    raise RecipeFault(f"{path}: its rows run the other way than those of {coadd.path.name} {numbers}; set {cure}")


def _hold_place(path: Path, picture: np.ndarray, coadd: Image) -> None:
    """RecipeFault when the picture correlates better a few pixels away, or nowhere, though there is enough to see."""
    height, width = coadd.shape
    tall, alike, lit = min(TALL, height), [], 0
    for bottom in np.unique(np.linspace(0, height - tall, 3).astype(int)):
        strip = _scaled(coadd.read(slice(bottom, bottom + tall), slice(0, width)))[::-1]
        lit += int((strip > BRIGHT).sum())
        alike.append(_shifts(np.arcsinh(strip), picture[height - bottom - tall : height - bottom]))
    alike = np.mean(alike, axis=0)
    middle = np.array(alike.shape) // 2
    down, right = (int(place) for place in np.unravel_index(alike.argmax(), alike.shape) - middle)
    best, here = alike.max(), alike[tuple(middle)]
    if max(abs(down), abs(right)) > 1 and best > SEEN and best > 1.1 * here + 0.01:
        raise RecipeFault(f"{path}: is shifted by {right} pixels to the right and {down} down against "
                          f"{coadd.path.name} (correlation {best:.2f} there, {here:.2f} as it is); take the picture of "
                          "that very image, or lupton, which makes pictures from three bands")  # fmt: skip
    elsewhere = np.median(alike)
    scatter = 1.4826 * np.median(np.abs(alike - elsewhere))
    if lit >= LIT and best < SEEN and here - elsewhere < OWN * scatter:
        raise RecipeFault(f"{path}: shows nothing of what {coadd.path.name} shows (correlation {here:.2f}): it is of "
                          "another field; put each field's picture under its own name, or take lupton, which makes "
                          "pictures from three bands")  # fmt: skip


def _shifts(strip: np.ndarray, colours: np.ndarray) -> np.ndarray:
    """Correlation of brightness for shifts of the picture by up to REACH pixels: (down, right), none in the middle."""
    grey = colours.mean(axis=2)
    down, right = (min(REACH, length // 4) for length in strip.shape)
    if strip.std() == 0 or grey.std() == 0:
        return np.zeros((2 * down + 1, 2 * right + 1))
    one, other = ((values - values.mean()) / values.std() for values in (strip, grey))
    found = np.fft.irfft2(np.fft.rfft2(other) * np.conj(np.fft.rfft2(one)), s=one.shape) / one.size
    return np.roll(found, (down, right), axis=(0, 1))[: 2 * down + 1, : 2 * right + 1]


def _scaled(values: np.ndarray) -> np.ndarray:
    """Pixels in units of their scatter, the middle at 0."""
    good = np.where(np.isfinite(values), values, 0).astype(np.float64)
    above = good - np.median(good)
    return above / (1.4826 * np.median(np.abs(above)) or float(np.abs(above).max()) or 1.0)


def _alike(strip: np.ndarray, colours: np.ndarray) -> float:
    """Correlation of brightness; 0 where one of them is flat."""
    grey = colours.mean(axis=2)
    if strip.std() == 0 or grey.std() == 0:
        return 0.0
    return float(np.corrcoef(strip.ravel(), grey.ravel())[0, 1])
