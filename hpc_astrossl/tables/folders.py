"""A tree of folders as a table: names of folders and files are its columns, and nothing else is needed."""

import os
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.images import SUFFIXES

FILE = "file"  # the column of paths, relative to the folder


def read_folders(folder: Path, pattern: str, wanted: Mapping[str, str],
                 left: list[str] | None = None) -> dict[str, np.ndarray]:  # fmt: skip
    """The wanted columns, as text, one row an image file below ``folder``, in the order of their paths.

    In ``pattern`` names in braces are columns, and square brackets enclose what may be absent, as in
    ``[{split}/]{class}/{id}.jpg``. A column that is absent is empty; ``file`` is always there. ``left`` is told, in
    words, what is not read. InputError if no image fits, or a column is unknown.
    """
    shape = _expression(pattern)
    columns = [*shape.groupindex, FILE]
    for name in wanted:
        if name not in columns:
            raise InputError(f"{folder / pattern}: no column {name!r}; the names of folders and files give: "
                             f"{', '.join(columns)}")  # fmt: skip
    listing = list_images(folder)
    images = listing.files
    rows = [found.groupdict(default="") | {FILE: name} for name in images if (found := shape.fullmatch(name))]
    if left is not None:
        left += _left(pattern, [name for name in images if not shape.fullmatch(name)], listing)
    if not rows:
        hint = f"; the first of {len(images):,} is {images[0]}" if images else f" with a name in {' '.join(SUFFIXES)}"
        raise InputError(f"{folder}: no image file fits catalogue.file={pattern!r}{hint}")
    return {name: np.array([row[name] for row in rows], dtype=str) for name in wanted}


def _left(pattern: str, odd: list[str], listing: "Listing") -> list[str]:
    """What is not read, in words."""
    said = [f"images that do not fit {pattern}, so not read: {len(odd):,}, the first {odd[0]}"] if odd else []
    return said + ([f"not read, for their names: {listing.not_read}"] if listing.others else [])


@dataclass(frozen=True, kw_only=True)
class Listing:
    """The image files below a folder, as paths relative to it, in their order; and how many others, by suffix."""

    files: list[str]
    others: Counter

    @property
    def not_read(self) -> str:
        """The others in words, empty when there are none."""
        most = sorted(self.others.items(), key=lambda one: (-one[1], one[0]))
        return ", ".join(f"{suffix} {count:,}" for suffix, count in most)


def list_images(folder: Path) -> Listing:
    """Every image file below, as ``preprocess`` and whoever applies a network find them; errors as of ``_images``."""
    others = Counter()
    return Listing(files=sorted(_images(folder, others)), others=others)


def _images(folder: Path, others: Counter) -> Iterator[str]:
    """The image files below a folder, links to folders followed, as paths relative to it.

    InputError for a folder that cannot be read, a link in a circle or to nothing, and a name that is no UTF-8.
    """
    seen = {_place(folder)}
    for root, below, names in os.walk(folder, followlinks=True, onerror=_closed):
        for name in list(below):
            place = _place(Path(root, name))
            if name.startswith("."):
                below.remove(name)
            elif place in seen:
                raise InputError(f"{Path(root, name)}: is a folder that is read already, by a link; remove the link")
            seen.add(place)
        for name in names:
            if name.startswith("."):  # as of what other systems leave beside pictures
                if (suffix := Path(name).suffix.lower()) in SUFFIXES:
                    others[f"hidden {suffix}"] += 1
                continue
            path = Path(root, name)
            if path.is_symlink() and not _is_there(path):  # of a folder of images, maybe
                raise InputError(f"{path}: is a link to a file that is not there; mend or remove it")
            if (suffix := path.suffix.lower()) not in SUFFIXES:
                others[suffix if suffix.isprintable() and suffix else "without a suffix"] += 1
                continue
            if not name.isprintable() or any("\ud800" <= letter <= "\udfff" for letter in str(path)):
                raise InputError(f"{str(path)!r}: this name is no plain text in UTF-8; rename the file")
            yield os.path.relpath(path, folder).replace(os.sep, "/")


def _place(folder: Path) -> tuple[int, int]:
    try:
        facts = folder.stat()
    except OSError as error:
        raise _closed(error) from None
    return facts.st_dev, facts.st_ino


def _is_there(path: Path) -> bool:
    try:
        return path.exists()
    except OSError as error:
        raise _closed(error) from None


def _closed(error: OSError) -> InputError:
    """Raised here, for ``os.walk`` goes on when this returns."""
    raise InputError(f"{error.filename}: cannot be entered ({error.strerror}); its images would be missing without a "
                     "word") from None  # fmt: skip


def _expression(pattern: str) -> re.Pattern:
    """``[{split}/]{class}/{id}.jpg`` as a regular expression: a name in braces is one part of a path."""
    text = ""
    for part in re.split(r"(\{\w+\}|[\[\]])", pattern):
        if part.startswith("{"):
            text += f"(?P<{part[1:-1]}>[^/]+)"
        else:
            text += {"[": "(?:", "]": ")?"}.get(part, re.escape(part))
    try:
        return re.compile(text)
    except re.error as error:
        raise InputError(f"catalogue.file={pattern!r} is no pattern of folders: {error}") from None
