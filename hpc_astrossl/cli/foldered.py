"""What ``astrossl new recipe folders`` says of a folder of pictures: its classes, and whether it is split already."""

import os
import shlex
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from hpc_astrossl.errors import InputError

SHARES = "  train: 0.8\n  validation: 0.1\n  test: 0.1"
PLAIN, PARTED = "{class}/{name}.{type}", "{part}/{class}/{name}.{type}"


def words(source: Path | None) -> dict[str, str]:
    """What goes into the recipe; prints what is found. InputError when there are no two classes."""
    if source is None:
        return {"source": "SOURCE", "classes": "{star: [star], galaxy: [galaxy]}", "pattern": PLAIN, "split": SHARES}
    from hpc_astrossl.tables.folders import list_images

    if not source.is_dir():
        raise InputError(f"--source {source}: no such folder")
    listing = list_images(source)
    parts = _parts(listing.files)
    depth, pattern = (2, PARTED) if parts else (1, PLAIN)
    classes = Counter(name.split("/")[depth - 1] for name in listing.files if name.count("/") == depth)
    if len(classes) < 2:
        raise InputError(f"--source {source}: expected pictures in two folders or more, one a class "
                         f"({source}/CLASS/NAME.jpg), found {len(classes)}{_instead(source, listing)}")  # fmt: skip
    _tell(source, listing, depth)
    _not_ranges(source, sorted(classes))
    print("classes: " + ", ".join(f"{name} {count:,}" for name, count in sorted(classes.items())))
    split = _split(parts) if parts else SHARES
    return {"source": shlex.quote(str(source)), "pattern": pattern, "split": split,
            "classes": flow({name: [name] for name in sorted(classes)})}  # fmt: skip


def _not_ranges(source: Path, classes: Sequence[str]) -> None:
    """InputError for a folder whose name a recipe reads as a range of numbers."""
    from hpc_astrossl.specs.recipe import LabelSpec

    for name in classes:
        if LabelSpec(source="column", column="class", classes={name: (name,), f"not {name}": ("x",)}).ranges():
            raise InputError(f"{source / name}: a recipe reads this name as a range of numbers; rename the folder, for "
                             f"example to {name.replace('..', ' to ')!r}")  # fmt: skip


def _parts(images: Sequence[str]) -> dict[str, list[str]]:
    """The folders train, test and the like by the split that they mean; none where a folder is something else."""
    from hpc_astrossl.specs.recipe import SplitSpec

    known = {word: split for split, meaning in SplitSpec().parts.items() for word in meaning}
    tops = sorted({name.split("/")[0] for name in images if "/" in name})
    if not tops or any(top.lower() not in known for top in tops) or not any(name.count("/") == 2 for name in images):
        return {}
    found: dict[str, list[str]] = {}
    for top in tops:
        found.setdefault(known[top.lower()], []).append(top)
    return found


def _split(parts: Mapping[str, Sequence[str]]) -> str:
    """The lines of ``split``: as the folders have it, or drawn anew where one of the three is not there."""
    from hpc_astrossl.store import SPLITS

    if missing := [split for split in SPLITS if split not in parts]:
        there = ", ".join(name for names in parts.values() for name in names)
        print(f"folders {there}, but none for {' and '.join(missing)}: the split is drawn anew from all pictures. To "
              f"keep theirs, move some pictures into a folder {missing[0]} and run this again")  # fmt: skip
        return SHARES
    print("split: as the folders " + ", ".join(f"{name} ({split})" for split in SPLITS for name in parts[split]))
    return f"  by: column\n  column: part\n  parts: {flow({split: parts[split] for split in SPLITS})}"


def _tell(source: Path, listing, depth: int) -> None:
    """What of the folder is not read."""
    form = "/".join(["PART", "CLASS", "NAME.jpg"][2 - depth :])
    if other := [name for name in listing.files if name.count("/") != depth]:
        print(f"not of the form {form}, so not read: {len(other):,} pictures, the first {other[0]}")
    tops = {name.split("/")[0] for name in listing.files}
    hidden = {one.name for one in source.iterdir() if one.is_dir() and not one.name.startswith(".")}
    if empty := sorted(hidden - tops):
        print(f"without pictures, so no classes: {', '.join(empty)}")
    if listing.others:
        print(f"not read, for their names: {listing.not_read}")


def _instead(source: Path, listing) -> str:
    """What to do about a folder that has no two classes."""
    images = listing.files
    if not images:
        return ", but no picture" + (f"; not read, for their names: {listing.not_read}" if listing.others else "")
    above = os.path.commonpath([Path(name).parent for name in images]) if _deep(images) else ""
    below = {name.removeprefix(f"{above}/").split("/")[0] for name in images if name.count("/") > above.count("/") + 1}
    if above and len(below) > 1:
        return f"; give the folder above the classes: --source {shlex.quote(str(source / above))}"
    more = f"; the first of {len(images):,} pictures is {images[0]}"
    return f"{more}. Where a table says the class of each picture: astrossl new recipe files"


def _deep(images: Iterable[str]) -> bool:
    return all("/" in name for name in images)


def flow(value: object) -> str:
    """A value as YAML in one line, quoted where it must be for ``config`` to read it as it is."""
    import yaml

    from hpc_astrossl.config import safe_yaml

    for style in (None, '"'):  # what PyYAML leaves bare may be a number here, as 1e3
        text = yaml.safe_dump([value], default_flow_style=True, width=10**6, allow_unicode=True, default_style=style)
        if safe_yaml(text, "") == [value]:
            break
    return text.strip()[1:-1]
