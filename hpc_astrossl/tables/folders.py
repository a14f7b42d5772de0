"""A tree of folders as a table: names of folders and files are its columns, and nothing else is needed."""

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.images import SUFFIXES

FILE = "file"  # the column of paths, relative to the folder


def read_folders(folder: Path, pattern: str, wanted: Mapping[str, str]) -> dict[str, np.ndarray]:
    """The wanted columns, as text, one row an image file below ``folder``, in the order of their paths.

    In ``pattern`` names in braces are columns, and square brackets enclose what may be absent, as in
    ``[{split}/]{class}/{id}.jpg``. A column that is absent is empty; ``file`` is always there. InputError if no image
    fits, or a column is unknown.
    """
    shape = _expression(pattern)
    columns = [*shape.groupindex, FILE]
    for name in wanted:
        if name not in columns:
            raise InputError(f"{folder / pattern}: no column {name!r}; the names of folders and files give: "
                             f"{', '.join(columns)}")  # fmt: skip
    images = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if _is_image(path))
    rows = [found.groupdict(default="") | {FILE: name} for name in images if (found := shape.fullmatch(name))]
    if not rows:
        hint = f"; the first of {len(images):,} is {images[0]}" if images else f" with a name in {' '.join(SUFFIXES)}"
        raise InputError(f"{folder}: no image file fits catalogue.file={pattern!r}{hint}")
    return {name: np.array([row[name] for row in rows], dtype=str) for name in wanted}


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES and not path.name.startswith(".") and path.is_file()


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
