"""``astrossl preprocess``: one process, several workers, and one task of an array, on a survey of two fields."""

from collections.abc import Callable
from pathlib import Path

from ingest_survey import RECIPES, Survey

from faults.scenes import Prints, Scene, digests
from faults.victims import Command
from hpc_astrossl.store import layout


def small_shards() -> None:
    """Eight objects a shard, four a chunk."""
    layout.CHUNK_BYTES, layout.SHARD_ROWS = 12_000, 8


def scenes() -> list[Scene]:
    """One a way to run it."""
    bands = ("--store", "SG", "--set", "stores.SG.images=bands")
    return [
        scene("preprocess", "--workers", "1"),
        scene("preprocess, fluxes of twelve bands", "--workers", "1", *bands, share=0.4),
        scene("preprocess, two workers", "--workers", "2", setup="", share=0.4),
        # Makes the selection for both and its own shards; the store stays unfinished.
        scene(
            "preprocess, the first of two tasks",
            "--workers",
            "1",
            "--task",
            "1/2",
            share=0.6,
            reads=(_of_a_task, _records),
        ),
    ]


def scene(name: str, *options: str, setup: str = "faults.preprocessing:small_shards", share: float = 1.0,
          reads: tuple[Callable[[Path], Prints], Callable[[Path], Prints]] | None = None) -> Scene:  # fmt: skip
    """``preprocess`` of the simulated survey's recipe with these options."""

    def command(folder: Path, attempt: int) -> Command:
        arguments = ("preprocess", str(RECIPES / "simulated.yaml"), "--source", "survey", "--out", "stores", *options)
        return Command(arguments=arguments, cwd=folder, setup=setup)

    prints, finished = reads or (_prints, _whole)
    return Scene(name=name, make=_survey, command=command, prints=prints, whole=finished, share=share)


def _survey(folder: Path) -> None:
    Survey(folder / "survey", per_field=24).write(bands=True)


def _prints(folder: Path) -> Prints:
    """Every file of the output; what killed attempts left behind would show, too. Notes of tasks hold dates."""
    return digests(folder / "stores", but=lambda name: ".tasks/" in name)


def _of_a_task(folder: Path) -> Prints:
    """The shards and records of a store in the making. Plans hold times of files, locks the process that died; what
    died before its store had begun (``.NAME.zarr-``) goes when the store is finished."""
    passing = (".tasks/", "/selection/", "/locks/", ".selecting", ".zarr-")
    return digests(folder / "stores", but=lambda name: any(word in name for word in passing))


def _records(folder: Path) -> Prints:
    """The records of finished shards."""
    return digests(folder / "stores", but=lambda name: "/manifest/images-" not in name or name.endswith(".partial"))


def _whole(folder: Path) -> Prints:
    """Stores under their final names, and lists of what was left out."""
    unfinished = (".partial", ".zarr-")
    return digests(folder / "stores", but=lambda name: ".tasks/" in name or any(word in name for word in unfinished))
