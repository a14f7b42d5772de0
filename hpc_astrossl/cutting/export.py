"""Cutouts of a store as files: FITS with the WCS that the store kept of each object, and PNG to look at."""

import io
import re
from pathlib import Path

import numpy as np
from astropy.io import fits
from PIL import Image

from hpc_astrossl import files
from hpc_astrossl.cutting.contact import composite
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.ids import folded, same
from hpc_astrossl.store import Store

UNIT = "1E-5*3631 Jy/arcsec2"


def export(store: Store, ids: list[str], out: Path, kinds: tuple[str, ...]) -> list[tuple[Path, bool]]:
    """Write the objects ``ids`` into ``out`` as ``kinds`` (fits, png); returns each file, and whether it has a WCS.

    InputError for an id that the store does not have, whose pixels were of no use, a folder that cannot be written, or
    a file that is there and holds anything else.
    """
    rows = _rows(store, ids)
    names = [re.sub(r"[^\w.+-]", "_", name) for name in ids]
    if len(set(names)) < len(set(ids)):
        raise InputError(f"{out}: two of the ids give one file name; write them into folders of their own")
    wcs = store.table["wcs"][rows] if "wcs" in store.table else np.full((len(rows), 6), np.nan)
    images, made, written = store.images(rows), {}, []
    store.hold()
    for image, row, name, terms in zip(images, rows, names, wcs, strict=True):
        for kind in kinds:
            data = _fits(store, image, row, terms) if kind == "fits" else _png(store, image)
            made[out / f"{name}.{kind}"] = data
            written.append((out / f"{name}.{kind}", kind == "fits" and bool(np.isfinite(terms).all())))
    _write(out, made)
    return written


def _write(out: Path, made: dict[Path, bytes]) -> None:
    """Write the files, unless one of them is there and is something else."""
    path = out
    try:
        for path, data in made.items():
            if path.exists() and path.read_bytes() != data:
                raise InputError(f"{path}: is there already, and is another file than this cutout; remove it first, or "
                                 "choose another --out")  # fmt: skip
        out.mkdir(parents=True, exist_ok=True)
        for path, data in made.items():
            files.write_aside(path, data)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


def _rows(store: Store, ids: list[str]) -> np.ndarray:
    known = folded(store.table["object_id"])
    order = np.argsort(known, kind="stable")
    rows = []
    usable = np.zeros(len(known), dtype=bool)
    usable[store.usable] = True
    for name in map(same, ids):
        place = np.searchsorted(known, name, sorter=order)
        if place == len(known) or known[order[place]] != name:
            few = known[:20].tolist()
            raise unknown(f"object in {store.path}", name, few)
        if not usable[order[place]]:
            raise InputError(f"{store.path}: object {name} has no image: its pixels were of no use when it was cut")
        rows.append(order[place])
    return np.array(rows, dtype=np.int64)


def _fits(store: Store, image: np.ndarray, row: int, terms: np.ndarray) -> bytes:
    """A primary image, (y, x) of one channel, else (channel, y, x); rows in FITS order."""
    planes = np.moveaxis(image, 2, 0)[:, ::-1]
    unit = fits.PrimaryHDU(np.ascontiguousarray(planes[0] if len(planes) == 1 else planes))
    header, ra, dec = unit.header, store.table["ra"][row], store.table["dec"][row]
    header["OBJECT"] = _ascii(store.table["object_id"][row])
    header["SURVEY"], header["RELEASE"] = _ascii(store.info.survey), _ascii(store.info.release)
    for i, name in enumerate(store.info.channels, start=1):
        header[f"CHAN{i}"] = (_ascii(name), f"plane {i}")
    if _calibrated(store):
        header["BUNIT"] = (UNIT, "AB surface brightness")
    if np.isfinite(terms).all() and np.isfinite([ra, dec]).all():
        cards = {"WCSAXES": 2, "CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CUNIT1": "deg", "CUNIT2": "deg",
                 "CRVAL1": ra, "CRVAL2": dec, "CRPIX1": terms[0], "CRPIX2": terms[1], "CD1_1": terms[2],
                 "CD1_2": terms[3], "CD2_1": terms[4], "CD2_2": terms[5], "RADESYS": "ICRS"}  # fmt: skip
        header.update(cards)
    stream = io.BytesIO()
    unit.add_checksum(when="data sum")  # the usual words are the time: the same object would be another file each time
    unit.writeto(stream)
    return stream.getvalue()


def _ascii(text: str) -> str:
    return str(text).encode("ascii", "replace").decode()[:60]


def _calibrated(store: Store) -> bool:
    images = store.info.recipe.get("fields") or store.info.recipe.get("cutouts") or {}
    return store.dtype != np.uint8 and any(images.get(key) for key in ("unit", "zero_point", "zero_points"))


def _png(store: Store, image: np.ndarray) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image if image.dtype == np.uint8 else composite(image, store)).save(stream, format="PNG")
    return stream.getvalue()
