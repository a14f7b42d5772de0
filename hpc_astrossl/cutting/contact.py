"""A contact sheet of a store: a person sees at once whether y is flipped, bands are swapped or classes are mixed up.

RGB stores: a row of objects a class. Stores of bands: an object a row, a colour composite and then every band. The
objects of a class are spread evenly over its magnitudes, brightest first; without magnitudes they are drawn. Of a store
of many millions of rows some stretches are looked at, spread evenly over it.
"""

import io
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from hpc_astrossl import files
from hpc_astrossl.errors import InputError
from hpc_astrossl.store import REJECTED, Store

MOST_CLASSES = 20
MOST, STRETCH_ROWS = 1 << 22, 1 << 16  # rows that are looked at, and those that lie together where a store has more
SIDE = 96  # pixels of a panel, at least; images are enlarged by whole factors, each pixel staying a square
GAP, LINE, TITLE = 6, 13, 40  # pixels: between panels, a line of text, the head of the sheet
STRETCH = "asinh from the median to the brightest pixel, one scale for all bands of an object"
MARK = ("Software", "astrossl info --image")  # a text that every sheet carries
Panel = tuple[np.ndarray, list[str]]  # (height, width, 3) uint8, the lines below


def draw(store: Store, path: Path, *, each: int = 8) -> int:
    """Write a PNG with up to ``each`` objects a class (3 in a store of bands); returns how many are shown."""
    if path.suffix.lower() != ".png":
        raise InputError(f"--image {path}: the contact sheet is a PNG image; give a name that ends in .png")
    if path.exists() and not _is_ours(path):
        raise InputError(f"--image {path}: is there already, and is no contact sheet; remove it or choose another name")
    colour = store.dtype == np.uint8 and store.image_shape[2] == 3
    groups = _groups(store, each if colour else 3)
    rows = []
    for group in groups:
        captions = [_caption(store, row) for row in group.tolist()]
        images = store.images(group)
        if colour:
            rows.append(list(zip(images, captions, strict=True)))
        else:
            rows += [_panels(image, caption, store) for image, caption in zip(images, captions, strict=True)]
    store.hold()
    stream = io.BytesIO()
    told = PngImagePlugin.PngInfo()
    told.add_text(*MARK)
    _sheet(_title(store, colour), rows).save(stream, format="PNG", pnginfo=told)
    try:
        files.write_aside(path, stream.getvalue())
    except OSError as error:
        raise InputError(f"--image {path}: cannot be written ({error.strerror})") from None
    return sum(map(len, groups))


def _is_ours(path: Path) -> bool:
    try:
        with Image.open(path) as image:
            return image.info.get(MARK[0]) == MARK[1]
    except OSError:
        return False


def _groups(store: Store, each: int) -> list[np.ndarray]:
    """Row numbers to show, a group a class, of the objects that have an image; one group of what has no label."""
    usable, labels, magnitude = _looked_at(store)
    codes = [code for code in [*range(len(store.info.class_names)), -1] if (labels == code).any()]
    groups = []
    for code in codes[:MOST_CLASSES]:
        rows = np.flatnonzero(labels == code)
        known = rows[np.isfinite(magnitude[rows])]
        bright_first = known[np.argsort(magnitude[known], kind="stable")]
        rows = bright_first if len(known) else np.random.default_rng(0).permutation(rows)
        groups.append(usable[rows[np.unique(np.linspace(0, len(rows) - 1, each).round().astype(int))]])
    return groups


def _looked_at(store: Store) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """(rows that have an image, their labels, their magnitudes): all, or of a large store those of some stretches."""
    count, found = len(store), []
    starts = np.linspace(0, count - STRETCH_ROWS, MOST // STRETCH_ROWS).astype(int) if count > MOST else [0]
    for start in starts:
        stop = int(start) + (STRETCH_ROWS if count > MOST else count)
        labels, split = (store.table.part(name, int(start), stop) for name in ("label", "split"))
        here = np.flatnonzero(split != REJECTED)
        found.append((start + here, labels[here], _magnitudes(store, int(start), stop)[here]))
    rows, labels, magnitudes = map(np.concatenate, zip(*found, strict=True))
    return rows, labels, magnitudes


def _reference(store: Store) -> str | None:
    """The band whose magnitudes are shown: the recipe's reference, else r, else the middle one."""
    bands = store.info.bands
    named = (store.info.recipe.get("catalogue") or {}).get("reference")
    return next((band for band in (named, "r") if band in bands), bands[len(bands) // 2] if bands else None)


def _magnitudes(store: Store, start: int, stop: int) -> np.ndarray:
    band = _reference(store)
    if band is None:
        return np.full(stop - start, np.nan)
    return store.table.part("magnitudes", start, stop)[:, store.info.bands.index(band)]


def _caption(store: Store, row: int) -> list[str]:
    (magnitude,) = _magnitudes(store, row, row + 1)
    label, object_id = (store.table.part(name, row, row + 1)[0] for name in ("label", "object_id"))
    name = store.info.class_names[label] if label >= 0 else "no class"
    known = f"{_reference(store)} {magnitude:.2f}" if np.isfinite(magnitude) else "no magnitude"
    return [name, known, object_id]


def _title(store: Store, colour: bool) -> list[str]:
    info = store.info
    height, width, _ = store.image_shape
    size = f"{len(store.members()):,} objects of {width} x {height} pixels"
    first = f"{info.name}   {info.survey}, release {info.release}   {size}"
    if colour:
        order = "from bright to faint" if info.bands else "drawn by lot"
        return [first, f"as stored, row 0 (the largest y of a field) at the top; the objects of a class {order}"]
    names = [info.channels[i] for i in _composite(len(info.channels))]
    one = len(info.channels) == 1
    colours = info.channels[0] if one else f"first panel: red {names[0]}, green {names[1]}, blue {names[2]}"
    return [first, f"row 0 (the largest y of a field) at the top; {colours}; {STRETCH}"]


def _composite(count: int) -> tuple[int, int, int]:
    """Channels shown as red, green, blue: the last, the middle, the first (they are in order of wavelength)."""
    return count - 1, count // 2, 0


def composite(image: np.ndarray, store: Store) -> np.ndarray:
    """A colour picture, uint8 (height, width, 3), of one object's bands, as on the sheet."""
    return _panels(image, [], store)[0][0]


def _panels(image: np.ndarray, caption: list[str], store: Store) -> list[Panel]:
    """The composite and every channel of one object, by one stretch (see STRETCH); of one channel that alone."""
    values = np.nan_to_num(image.astype(np.float64), nan=0.0, posinf=0.0, neginf=0.0)
    above = values - np.median(values, axis=(0, 1))
    soft = 3 * 1.4826 * np.median(np.abs(above)) or 1.0
    bright = np.arcsinh(np.clip(above, 0, None) / soft)
    grey = np.round(bright / (bright.max() or 1.0) * 255).astype(np.uint8)
    bands = [(np.repeat(grey[..., i : i + 1], 3, axis=2), [name]) for i, name in enumerate(store.info.channels)]
    return [(grey[..., list(_composite(grey.shape[2]))], caption), *(bands if len(bands) > 1 else [])]


def _sheet(title: list[str], rows: list[list[Panel]]) -> Image.Image:
    """Rows of panels with their lines of text below, under a title."""
    height, width = rows[0][0][0].shape[:2]
    factor = max(1, -(-SIDE // max(height, width)))
    height, width = height * factor, width * factor
    text = LINE * max(len(lines) for row in rows for _, lines in row)
    down, across = height + text + GAP, width + GAP
    font = ImageFont.load_default()
    size = max(max(map(len, rows)) * across + GAP, int(max(font.getlength(line) for line in title)) + 2 * GAP)
    sheet = Image.new("RGB", (size, TITLE + len(rows) * down), "white")
    pen = ImageDraw.Draw(sheet)
    for i, line in enumerate(title):
        pen.text((GAP, GAP + i * LINE), line, fill="black", font=font)
    for r, row in enumerate(rows):
        for c, (pixels, lines) in enumerate(row):
            x, y = GAP + c * across, TITLE + r * down
            sheet.paste(Image.fromarray(pixels).resize((width, height), Image.Resampling.NEAREST), (x, y))
            for i, line in enumerate(lines):
                pen.text((x, y + height + i * LINE), _fitting(line, width, font), fill="black", font=font)
    return sheet


def _fitting(line: str, width: int, font: ImageFont.ImageFont) -> str:
    """The line, or its end if it is wider than a panel: ids differ at their end."""
    if font.getlength(line) <= width:
        return line
    while line and font.getlength("..." + line) > width:
        line = line[1:]
    return "..." + line
