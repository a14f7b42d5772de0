"""``astrossl new``: a commented file to start from."""

import importlib.resources
import re
import shlex
from argparse import Namespace
from pathlib import Path

FILES = ("recipe", "jobs", "run")
WIDTH = 118
TAKEN = {"source": ("recipe", "folders"), "store": ("jobs", "classes")}  # options, and what takes them


def add(verbs) -> None:
    """Add the verb."""
    from hpc_astrossl.cli import add_verb

    verb = add_verb(
        verbs,
        "new",
        about="write a commented recipe, jobs recipe or run to start from",
        example="astrossl new recipe folders --source pictures --out mine.yaml\n"
        "  astrossl new jobs classes --store stores/images.zarr --out jobs.yaml\n\nkinds:\n"
        + "\n".join(f"  {file}: {', '.join(kinds(file))}" for file in FILES),
        handler=new,
    )
    verb.add_argument("file", metavar="|".join(FILES), choices=FILES)
    verb.add_argument("kind", metavar="KIND", help="see below")
    verb.add_argument("--source", metavar="DIR", type=Path, help="recipe folders: take the classes from these folders")
    verb.add_argument("--store", metavar="STORE", type=Path, help="jobs classes: train on this store")
    verb.add_argument("--out", metavar="FILE", type=Path, help="the file to write (default: KIND.yaml)")


def kinds(file: str) -> list[str]:
    """What there is a beginning of."""
    folder = importlib.resources.files("hpc_astrossl").joinpath("templates", file)
    return sorted(one.name.removesuffix(".yaml") for one in folder.iterdir() if one.name.endswith(".yaml"))


def new(arguments: Namespace) -> None:
    """Write the file, and say how it is used. InputError for an unknown kind, or a file that is there."""
    from hpc_astrossl.cli import foldered
    from hpc_astrossl.errors import InputError, unknown
    from hpc_astrossl.files import write_aside

    if arguments.kind not in kinds(arguments.file):
        raise unknown(f"kind of {arguments.file}", arguments.kind, kinds(arguments.file))
    what = (arguments.file, arguments.kind)
    for option, taken in TAKEN.items():
        if getattr(arguments, option) is not None and what != taken:
            raise InputError(f"--{option} is for astrossl new {' '.join(taken)}, not for {' '.join(what)}")
    out = arguments.out or Path(f"{arguments.kind}.yaml")
    if out.exists():
        raise InputError(f"{out}: is there already; give another name with --out, or remove it")
    if not out.parent.is_dir():
        raise InputError(f"{out.parent}: no such folder")
    words = foldered.words(arguments.source) | _of_store(arguments.store)
    text = commented(arguments.file, arguments.kind, out, words)
    write_aside(out, text.encode())
    print(f"{out}: every key has its meaning above it; astrossl help {arguments.file} lists the others")
    print(next(line.removeprefix("#").strip() for line in text.splitlines() if line.startswith("#   astrossl ")))


def _of_store(store: Path | None) -> dict[str, str]:
    """What a jobs recipe says of a labelled store: its name, its path, and that all its labels are used."""
    if store is None:
        return {"experiment": "classes", "set": "SG", "store": "stores/SG.zarr", "size": "64",
                "workdir": " --workdir demo",
                "says": "As it stands it trains on a store of the demo (make demo); name yours below."}  # fmt: skip
    import json

    from hpc_astrossl.cli.foldered import flow
    from hpc_astrossl.errors import InputError

    try:
        about = dict(json.loads((store / "zarr.json").read_bytes())["attributes"])
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        raise InputError(f"--store {store}: no store is there; make it first (astrossl preprocess)") from None
    if not about.get("class_names"):
        raise InputError(f"--store {store}: has no classes to learn; make it again, with labels in its recipe")
    name = flow(re.sub(r"[^A-Za-z0-9_.-]+", "_", store.stem).lstrip("_.-") or "classes")  # as names of runs may be
    return {"experiment": name, "set": name, "store": flow(str(store)), "size": "all", "workdir": "",
            "says": "sizes: [100, all] trains on 100 labels, too: what more labels are worth."}  # fmt: skip


def commented(file: str, kind: str, out: Path, words: dict[str, str]) -> str:
    """A template, filled in, with the meaning of each key above it."""
    from hpc_astrossl.specs import reference

    template = importlib.resources.files("hpc_astrossl").joinpath("templates", file, f"{kind}.yaml").read_text("utf-8")
    checkout = Path(__file__).parents[2]
    lines, path, keys = [], [], reference.keys(file)
    for line in template.format(file=shlex.quote(str(out)), checkout=shlex.quote(str(checkout)), **words).splitlines():
        if found := re.match(r"( *)([\w-]+):", line):
            depth = len(found[1]) // 2
            path = [*path[:depth], found[2]]
            if words := _words(keys, path):
                lines += _wrapped(words, found[1])
        lines.append(line)
    return "\n".join(lines) + "\n"


def _words(keys, path: list[str]) -> str:
    """The words of the key at exactly this path."""
    for one in keys:
        parts = one.path.split(".")
        if len(parts) == len(path) and all(a == b or a.isupper() for a, b in zip(parts, path, strict=True)):
            return one.words
    return ""


def _wrapped(words: str, indent: str) -> list[str]:
    import textwrap

    return textwrap.wrap(words, WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")
