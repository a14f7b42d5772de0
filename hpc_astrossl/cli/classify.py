"""``astrossl classify``: a few labels and an embedding make a classified survey."""

import json
import sys
from argparse import Namespace
from dataclasses import replace
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.errors import InputError
from hpc_astrossl.terminal import shown


def add(verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "classify",
        about="classify an embedding by a few labels, measured by cross-validation first",
        example="astrossl classify sg.zarr --labels labels.csv --out classes.parquet",
        handler=classify,
    )
    verb.add_argument("embedding", metavar="EMBEDDING", type=Path, help="what astrossl embed wrote as .zarr")
    verb.add_argument("--labels", metavar="FILE", type=Path, required=True, help="CSV of object_id,class[,when,who]")
    verb.add_argument("--out", metavar="FILE", type=Path, required=True, action="append",
                      help=".csv, .parquet or .npz: id, class, probabilities, unlike; may be repeated. "
                      "Beside the first: next.csv, <stem>.html, <stem>.json")  # fmt: skip
    verb.add_argument("--without", metavar="CLASS", action="append", default=[], help="leave a class's labels out")
    verb.add_argument("--next", metavar="N", type=int, default=100, help="how many in next.csv (default: %(default)s)")
    verb.add_argument("--finetune", action="store_true",
                      help="also write <stem>.finetune.yaml: a recipe that fine-tunes on these labels")  # fmt: skip
    verb.add_argument("--anyway", action="store_true", help="also where the store or the run is another one now")
    verb.add_argument("--json", action="store_true", help="print what <stem>.json holds")


def classify(arguments: Namespace) -> None:
    """``classify``; prints what was measured, then where the answers lie."""
    if arguments.next < 1:
        raise InputError(f"--next {arguments.next}: at least 1 is needed")
    try:
        from hpc_astrossl.classify.classify import Wish
        from hpc_astrossl.classify.classify import classify as make
    except ModuleNotFoundError as error:
        raise InputError(
            f"classify needs {error.name}, which is not installed; pip install 'hpc_astrossl[explore]'"
        ) from None
    wish = Wish(
        embedding=arguments.embedding,
        labels=arguments.labels,
        outs=tuple(arguments.out),
        without=tuple(arguments.without),
        upnext=arguments.next,
        anyway=arguments.anyway,
    )
    if arguments.finetune:
        wish = replace(wish, recipe=_recipe(wish))
    told = make(wish, lambda line: print(line, file=sys.stderr if arguments.json else sys.stdout, flush=True))
    if arguments.json:
        print(json.dumps(told, indent=1))
        return
    counts = ", ".join(
        f"{shown(name)} {count:,}" for name, count in zip(told["classes"], told["answers_by_class"], strict=True)
    )
    print(f"answers: {counts}; unlike anything labelled {told['unlike']['objects']:,}")
    print(f"{', '.join(map(str, wish.outs))}; {wish.next}; {wish.page}")
    if wish.recipe is not None:
        print(f"{wish.recipe_file}: how to fine-tune on the same labels; its first lines say the commands")


def _recipe(wish) -> str:
    """The recipe that fine-tunes; made before anything is computed, so that it fails early."""
    from hpc_astrossl.launch import labelled
    from hpc_astrossl.store import embedding

    return labelled.recipe(embedding.attributes(wish.embedding), wish.labels, wish.recipe_file)
