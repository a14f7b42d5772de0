"""Pictures before they are cut: what their headers tell that a user should know. No pixel is decoded."""

from collections.abc import Callable, Sequence
from pathlib import Path

from hpc_astrossl.cutting import rgb
from hpc_astrossl.cutting.containers import there
from hpc_astrossl.errors import InputError

LOOKED_AT = 1000  # pictures, spread over all of them


def remarks(count: int, path: Callable[[int], Path], size: int, crop: int | None) -> list[str]:
    """What to say of ``count`` pictures, of which ``path`` gives each, that are cut to ``crop`` (None: the largest
    square) and resized to ``size``: those that are enlarged, that are not square, that cannot be used."""
    if not count:
        return []
    step = -(-count // LOOKED_AT)
    small, oblong, faults, looked = [], [], [], 0
    for file in map(path, range(0, count, step)):
        if not there(file):  # counted, or refused, elsewhere
            continue
        looked += 1
        try:
            width, height = rgb.look(file)
        except InputError as error:
            faults.append(str(error))
            continue
        if min(width, height) < size and crop is None:
            small.append((min(width, height), f"{file}, {width} × {height}"))
        if width != height and crop is None:
            oblong.append(file)
    among = f"{looked:,} pictures" if step == 1 else f"{looked:,} pictures looked at (of {count:,})"
    enlarged = f"a crop of {crop} pixels is less than the {size} of an image: every picture is enlarged"
    return ([enlarged] if crop and crop < size else []) + _told(small, oblong, faults, (among, size))


def _told(small: Sequence[tuple[int, str]], oblong: Sequence[Path], faults: Sequence[str],
          what: tuple[str, int]) -> list[str]:  # fmt: skip
    among, size = what
    said = []
    if small:
        said.append(f"{len(small):,} of {among} are smaller than {size} × {size} pixels and are enlarged; the "
                    f"smallest is {min(small)[1]}")  # fmt: skip
    if oblong:
        said.append(f"{len(oblong):,} of {among} are not square: of each the largest square in the middle is used")
    if faults:
        said.append(f"{len(faults):,} of {among} cannot be used; the first is {faults[0]}")
    return said
