"""``astrossl labels``: files of labels, put together."""

import json
from argparse import Namespace
from pathlib import Path

from hpc_astrossl import labels
from hpc_astrossl.cli import add_verb
from hpc_astrossl.errors import InputError
from hpc_astrossl.labels import words_of
from hpc_astrossl.terminal import shown

SHOWN = 10


def add(verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "labels",
        about="put two people's labels together, or make a store of the labelled objects",
        example="astrossl labels merge mine.csv yours.csv --out labels.csv\n"
        "  astrossl labels store labels.csv --of stores/survey.zarr --out stores/labelled.zarr",
        handler=_merge,
    )
    kinds = verb.add_subparsers(dest="kind", metavar="KIND", required=True)
    merge = kinds.add_parser("merge", help="two files as one; disagreements are listed and left out")
    merge.add_argument("first", metavar="A", type=Path)
    merge.add_argument("second", metavar="B", type=Path)
    merge.add_argument("--out", metavar="C", type=Path, required=True, help="labels on which nobody disagrees")
    merge.add_argument("--json", action="store_true", help="print what was found as JSON")
    merge.set_defaults(handler=_merge)
    store = kinds.add_parser("store", help="a store of the labelled objects of another, to fine-tune on")
    store.add_argument("labels", metavar="LABELS", type=Path)
    store.add_argument("--of", metavar="STORE", type=Path, required=True, help="where their images are")
    store.add_argument("--out", metavar="NAME.zarr", type=Path, required=True)
    store.set_defaults(handler=_store)


def _merge(arguments: Namespace) -> None:
    out, other = arguments.out, arguments.out.with_name(f"{arguments.out.stem}.disagreements.csv")
    if not out.parent.is_dir():
        raise InputError(f"--out {out}: no folder {out.parent}; make it first")
    for path in (out, other):
        if path.exists():
            raise InputError(f"--out {out}: {path} is there already; remove it first, or choose another name")
    merged = labels.merge(labels.read_labels(arguments.first), labels.read_labels(arguments.second))
    differ = merged.disagreements
    if differ:
        head = ("object_id", "first", "second", "first_who", "second_who", "first_when", "second_when")
        rows = [(one, a.name, b.name, a.who, b.who, a.when, b.when) for one, (a, b) in differ.items()]
        labels.write_table(other, head, rows)
    labels.write_labels(out, merged.labels)
    if arguments.json:
        print(json.dumps(merged.told(), indent=1))
        return
    kappa = "" if merged.kappa is None else f", Cohen's kappa {merged.kappa:.2f}"
    print(f"{len(merged.labels):,} labels: {out}")
    print(f"labelled by both {merged.both:,}, called differently {len(differ):,}{kappa}")
    for one, (a, b) in list(differ.items())[:SHOWN]:
        print(f"  {shown(one)}: {shown(a.name)} in {arguments.first}, {shown(b.name)} in {arguments.second}")
    if len(differ) > SHOWN:
        print(f"  and {len(differ) - SHOWN:,} more")
    if differ:
        print(f"left out until somebody decides: {other}")


def _store(arguments: Namespace) -> None:
    try:
        from hpc_astrossl.classify import labelled
    except ModuleNotFoundError as error:
        raise InputError(
            f"labels store needs {error.name}, which is not installed; pip install 'hpc_astrossl[explore]'"
        ) from None
    counts, missing = labelled.make(arguments.labels, arguments.of, arguments.out)
    for name in ("classes", "splits"):
        print(f"{name}: " + ", ".join(f"{shown(one)} {count:,}" for one, count in counts[name].items()))
    if missing:
        print(f"left out: {words_of(missing)} that the store has no image of")
    print(arguments.out)
