"""``astrossl predict`` and ``embed``: finished runs put to use."""

import json
import re
from argparse import ArgumentParser, Namespace
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.errors import InputError

RUN = "runs/demo/SG_scratch_nall_s0-1f2e3d4c"


def add(verbs) -> None:
    """Add the verbs."""
    verb = add_verb(
        verbs,
        "predict",
        about="write a run's answers for a store, or for the images of a folder or table",
        example=f"astrossl predict {RUN} stores/SG.zarr --out sg.csv",
        handler=predict,
    )
    _common(verb, "STORE|IMAGES", ".csv, .parquet or .npz: object id, class and probabilities, or magnitudes")
    verb = add_verb(
        verbs,
        "embed",
        about="write a run's features of the objects of a store, or of the images of a folder or table",
        example=f"astrossl embed {RUN} stores/SG.zarr --out sg.zarr --out sg.parquet",
        handler=embed,
    )
    _common(verb, "STORE|IMAGES", ".zarr, .parquet or .npz: object id, label and features")


def _common(verb: ArgumentParser, source: str, forms: str) -> None:
    verb.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    verb.add_argument("source", metavar=source, type=Path, help="a store, or a folder or table of pictures")
    verb.add_argument(
        "--out", metavar="FILE", type=Path, required=True, action="append", help=f"{forms}; may be repeated"
    )
    verb.add_argument(
        "--crop",
        metavar="N",
        type=int,
        help="take the middle N pixels of each picture (default: as many as the run learnt)",
    )
    verb.add_argument(
        "--scale", metavar="ARCSEC", type=float,
        help="pixel scale of the pictures, which are then cropped to as much sky as the run learnt",
    )  # fmt: skip
    verb.add_argument("--unreadable", choices=("stop", "skip"),
                      help="what to do when a picture cannot be used (default: as the run's recipe says)")  # fmt: skip
    verb.add_argument("--anyway", action="store_true",
                      help="go on even if the run's store or first weights have changed since, or the images were made "
                           "otherwise than those it learnt")  # fmt: skip
    verb.add_argument("--task", metavar="I/N", default="1/1", help="make part I of N; any order, any node")
    verb.add_argument("--json", action="store_true", help="print JSON instead of words")


def task(words: str) -> tuple[int, int]:
    """(task from 0, tasks) of ``I/N``; InputError when it is something else."""
    found = re.fullmatch(r"(\d+)/(\d+)", words)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--task {words}: expected I/N, two whole numbers with 1 ≤ I ≤ N, such as 1/8")
    return int(found[1]) - 1, int(found[2])


def predict(arguments: Namespace) -> None:
    """``predict``."""
    from hpc_astrossl.training import apply

    _tell(apply.predict(_job(arguments)), arguments)


def embed(arguments: Namespace) -> None:
    """``embed``."""
    from hpc_astrossl.training import apply

    _tell(apply.embed(_job(arguments)), arguments)


def _job(arguments: Namespace):
    from hpc_astrossl.training.apply import Job
    from hpc_astrossl.training.pictures import Wish

    return Job(
        run=arguments.run,
        source=arguments.source,
        outs=arguments.out,
        task=task(arguments.task),
        anyway=arguments.anyway,
        wish=Wish(crop=arguments.crop, scale=arguments.scale, unreadable=arguments.unreadable),
    )


def _facts(made, arguments: Namespace) -> dict:
    """What was made, or this task's parts of it, as plain data; ``objects`` null while other tasks have some."""
    return {"run": str(arguments.run), "source": str(arguments.source), "out": [str(out) for out in arguments.out],
            "task": arguments.task, "done": made.objects is not None, "objects": made.objects,
            "left_out": made.left_out, "remarks": list(made.remarks)}  # fmt: skip


def _tell(made, arguments: Namespace) -> None:
    if arguments.json:
        print(json.dumps(_facts(made, arguments), indent=2, ensure_ascii=False))
        return
    names = ", ".join(str(out) for out in arguments.out)
    if made.objects is None:
        print(f"task {arguments.task} has made its parts; {names} will be there when all tasks have")
    else:
        print(f"{made.objects:,} objects: {names}")
