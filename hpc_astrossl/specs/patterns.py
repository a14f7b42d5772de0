"""Names with words in braces, such as ``{field}_{band}.fits``: which words a recipe may use, and what may fill them."""

import string
from collections.abc import Collection, Mapping
from pathlib import Path, PurePosixPath

from hpc_astrossl.errors import InputError, unknown


def words(pattern: str) -> list[str]:
    """The words in braces, in order. ValueError when the braces do not pair, or hold more than a word."""
    found = []
    for _, word, form, conversion in string.Formatter().parse(pattern):
        if word is None:
            continue
        if not word.isidentifier() or form or conversion:
            raise ValueError(f"braces may hold a plain word only, found {{{word}}}")
        found.append(word)
    return found


def check(name: str, pattern: str, allowed: Collection[str] | None = None) -> None:
    """InputError, naming the key, unless the words in braces are among those allowed; None allows any."""
    try:
        used = words(pattern)
    except ValueError as error:
        raise InputError(f"{name}: {pattern!r} is no pattern: {error}") from None
    for word in used if allowed is not None else ():
        if word not in allowed:
            raise unknown(f"word in braces in {name}", word, allowed)


def place(folder: Path, pattern: str, values: Mapping[str, str]) -> Path:
    """The file below ``folder`` that the pattern stands for. InputError for a value, which comes from a catalogue, that
    would lead out of the folder."""
    for word, value in values.items():
        if value.startswith("/") or (".." in value and ".." in PurePosixPath(value).parts) or "\0" in value:
            raise InputError(f"{str(value)!r} cannot be part of a file's name, as {{{word}}} of {pattern!r}: it would "
                             "lead out of the folder given as --source; correct the catalogue")  # fmt: skip
    joined = pattern.format(**values)
    if joined.startswith("/") > pattern.startswith("/") or _ups(joined) > _ups(pattern):
        raise InputError(f"{joined!r}, which {pattern!r} becomes for one row of the catalogue, would lead out of the "
                         "folder given as --source; correct the catalogue")  # fmt: skip
    return folder / joined


def _ups(path: str) -> int:
    """How often a path says \"one up\"."""
    return PurePosixPath(path).parts.count("..")
