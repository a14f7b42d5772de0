"""A recipe that fine-tunes on labelled objects, from the weights that made the embedding they were labelled in."""

import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.specs.run import RunSpec

STORE = "stores/labelled.zarr"  # relative to the work directory
PRETEXTS = ("magnitudes", "measured")  # what ``pretext:`` can learn


def recipe(about: Mapping[str, Any], labels: Path, file: Path) -> str:
    """The recipe for ``file`` as YAML, with the commands at its head; ``about`` are the embedding's attributes.

    Where the embedding's pretext run can be gone on from, it is, in its own experiment; else from ImageNet's weights,
    and the recipe says why. InputError when the embedding names no store, or no run folder that is there.
    """
    source, folder = about.get("store"), about.get("run_folder")
    if not source:
        raise InputError("--finetune: the embedding was not made of a store, so there is nothing to fine-tune on")
    if not folder or not (Path(folder) / "config.yaml").exists():
        raise InputError(f"--finetune: the run that made the embedding is not at {folder or 'a place that it tells'}; "
                         "make the embedding again with astrossl embed, or bring the run back")  # fmt: skip
    folder = Path(folder)
    workdir = folder.parent.parent.parent
    jobs, why = _jobs(folder, workdir, Path(source))
    lines = [
        "# Fine-tunes on labelled objects.",
        f"#   first:    {_command('labels', 'store', labels.resolve(), '--of', source, '--out', workdir / STORE)}",
        f"#   then:     {_command('submit', file.resolve(), '--cluster', 'local', '--workdir', workdir)}",
        f"# Begins from {why}.",
    ]
    return "\n".join(lines) + "\n" + config.dump(jobs)


def _command(*words: Any) -> str:
    line = "astrossl " + shlex.join(str(word) for word in words)
    if not line.isprintable():  # it stands in a comment, which a line break would end
        raise InputError(f"--finetune: {line!r}: a path with a line break; rename it")
    return line


def _jobs(folder: Path, workdir: Path, source: Path) -> tuple[dict[str, Any], str]:
    """(recipe as data, where its weights come from in words)."""
    sets = {"labelled": {"store": STORE}}
    fallback = {"experiment": "labelled", "sets": sets, "schemes": ["finetune-imagenet"]}
    found = _pretext(folder)
    if found is None:
        return fallback, "ImageNet's weights: the embedding's run had no pretext"
    if (workdir / found.data.store).resolve() == source.resolve():
        return fallback, ("ImageNet's weights: the pretext has seen the labelled objects, which would make the test a "
                          "leak; pretrain without them to go on from it")  # fmt: skip
    jobs = {
        "experiment": found.experiment,
        "pretext": {"store": found.data.store, "seed": found.seed, "target": found.data.target,
                    "overrides": _overrides(found)},
        "sets": sets,
        "schemes": ["finetune-magnitudes"],
    }  # fmt: skip
    try:
        plan = expand(config.parse(jobs, JobsSpec, "finetune"))
        made = {item.key for stage in plan.stages for item in stage.items}
    except InputError:
        made = set()
    if found.run_id not in made:
        return fallback, f"ImageNet's weights: pretext run {found.run_id} is not one that a recipe's pretext: makes"
    return jobs, f"pretext run {found.run_id}, which is not made again"


def _pretext(folder: Path) -> RunSpec | None:
    """The pretext run that the run in this folder is, or began from."""
    run = config.load(folder / "config.yaml", RunSpec)
    if run.weights and run.weights.startswith("run:"):
        other = folder.parent / run.weights.removeprefix("run:") / "config.yaml"
        run = config.load(other, RunSpec) if other.exists() else run
    return run if run.scheme == "pretext" and run.data.target in PRETEXTS else None


def _overrides(run: RunSpec) -> dict[str, Any]:
    """What a recipe must say so that the same run comes out of it."""
    plain = config.plain(run)
    kept = {key: plain[key] for key in ("model", "phases", "training")}
    data = {key: value for key, value in plain["data"].items() if key not in ("store", "target", "train_size")}
    return kept | {"data": data}
