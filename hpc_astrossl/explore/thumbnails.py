"""Thumbnails beside the page: square atlases of 64 objects each, JPEG, at most 3,000 bytes an object."""

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_astrossl.store import Store
from hpc_astrossl.store.display import displayed

ACROSS, SIDE = 8, 64  # objects a side of an atlas; pixels of an object, at most
EACH = ACROSS * ACROSS
MOST_BYTES = 3000  # an object
QUALITIES = (90, 80, 65, 50, 30)
READ_BYTES = 1 << 28  # of a store's images at a time


@dataclass(frozen=True, kw_only=True)
class Atlases:
    """Where they lie beside the page, and bytes an object, on average."""

    folder: str
    across: int
    bytes_each: float


def write(store: Store, rows: np.ndarray, folder: Path, aside: Path) -> Atlases:
    """Write the atlases of these rows of a store (−1: no cutout, black) into ``aside``, which is to be ``folder``.

    StoreChanged when the store was replaced meanwhile.
    """
    aside.mkdir()
    total = 0
    for number, images in enumerate(_atlases(store, rows)):
        data = _jpeg(images)
        (aside / f"{number:05d}.jpg").write_bytes(data)
        total += len(data)
    store.hold()
    return Atlases(folder=folder.name, across=ACROSS, bytes_each=total / len(rows))


def known(folder: Path, rows: int) -> Atlases | None:
    """The atlases of so many objects that lie there already; None when there are none."""
    files = list(folder.glob("*.jpg"))
    if len(files) != -(-rows // EACH):
        return None
    total = sum(file.stat().st_size for file in files)
    return Atlases(folder=folder.name, across=ACROSS, bytes_each=total / rows)


def _atlases(store: Store, rows: np.ndarray) -> Iterator[np.ndarray]:
    """Small images, up to EACH at a time; the store is read in large stretches, each chunk about once."""
    size = int(np.prod(store.image_shape)) * max(4, store.dtype.itemsize)
    step = EACH * max(1, min(64, READ_BYTES // (size * EACH)))
    for start in range(0, len(rows), step):
        small = _small(store, rows[start : start + step])
        for first in range(0, len(small), EACH):
            yield small[first : first + EACH]


def _small(store: Store, rows: np.ndarray) -> np.ndarray:
    """RGB images of one size, (M × side × side × 3) uint8; an object without a cutout is black."""
    height, width = store.image_shape[:2]
    longer = max(height, width)
    side = min(longer, SIDE)
    out = np.zeros((len(rows), side, side, 3), dtype=np.uint8)
    there = np.flatnonzero(rows >= 0)
    if not len(there):
        return out
    scaled = (max(1, round(height * side / longer)), max(1, round(width * side / longer)))
    top, left = (side - scaled[0]) // 2, (side - scaled[1]) // 2
    shown = displayed(store.images(rows[there]), store.info.channels)
    for place, image in zip(there, shown, strict=True):
        if image.shape[:2] != scaled:
            image = np.asarray(Image.fromarray(image).resize(scaled[::-1], Image.Resampling.BOX))
        out[place, top : top + scaled[0], left : left + scaled[1]] = image
    return out


def _jpeg(images: np.ndarray) -> bytes:
    """One atlas, of the best quality that keeps to the limit."""
    side = images.shape[1]
    sheet = np.zeros((ACROSS * side, ACROSS * side, 3), dtype=np.uint8)
    for place, image in enumerate(images):
        y, x = divmod(place, ACROSS)
        sheet[y * side : (y + 1) * side, x * side : (x + 1) * side] = image
    for quality in QUALITIES:
        stream = io.BytesIO()
        Image.fromarray(sheet).save(stream, format="JPEG", quality=quality, subsampling=0, optimize=True)
        if stream.tell() <= MOST_BYTES * len(images):
            break
    return stream.getvalue()
