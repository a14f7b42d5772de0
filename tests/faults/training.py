"""``astrossl train``: alone, as two ranks of either engine, on cached features, and heads trained together."""

import dataclasses
import json
import socket
from collections.abc import Callable, Sequence
from pathlib import Path

from training_toys import ALL, HEAD, make_run, make_store

from faults.scenes import Prints, Scene, digests
from faults.victims import Command
from hpc_astrossl import config, names
from hpc_astrossl.specs.run import RunSpec, TrainingSpec

OFTEN = TrainingSpec(checkpoint_minutes=0.0)
BOTH = make_run(dataclasses.replace(HEAD, epochs=3), dataclasses.replace(ALL, epochs=1), train_size=12, training=OFTEN)
ON_FEATURES = dataclasses.replace(HEAD, epochs=6)
EARLIER = make_run(dataclasses.replace(ALL, epochs=1), set="pretext", target="magnitudes", store="pretext")
TIMES = {"seconds", "samples_per_second", "data_wait"}
KEPT = ("metrics", "epochs", "best_epoch", "stopped", "objects", "leakage", "majority_share")
SAME = "weights and predictions byte-identical, metrics equal"
SETUP = "faults.training:small"
HANG = {"ASTROSSL_HANG_SECONDS": "60"}


def scenes() -> list[Scene]:
    """One a way to train."""
    return [
        _scene("train", [BOTH]),
        _scene("train, 2 ranks on Horovod", [BOTH], ranks=_slurm_ranks),
        _scene("train, 2 ranks on torch.distributed", [BOTH], ranks=_torch_ranks),
        _scene("features cached, then a head trained", [_on_features(0, None)], make=_with_source),
        _scene("heads trained together", [_on_features(seed, 20) for seed in (0, 1)] + [_on_features(0, None)],
               make=_with_source),
    ]  # fmt: skip


def small() -> None:
    """Convolutions of an eighth of their width; a checkpoint after every epoch and step; feature segments of eight."""
    from hpc_astrossl.nets import vgg
    from hpc_astrossl.training import checkpoint, encoding

    vgg.BLOCKS = tuple(tuple(width // 8 for width in group) for group in vgg.BLOCKS)
    vgg.CHANNELS //= 8
    checkpoint.COST_SHARE, encoding.SEGMENT = 1e9, 8


def _on_features(seed: int, size: int | None) -> RunSpec:
    weights = f"run:{names.resolved(EARLIER).run_id}"
    return make_run(ON_FEATURES, weights=weights, seed=seed, train_size=size, training=OFTEN)


def _scene(name: str, runs: list[RunSpec], *, ranks: Callable[[int], Sequence[dict[str, str]]] = lambda attempt: [{}],
           make: Callable[[Path], None] | None = None) -> Scene:  # fmt: skip
    def lay_out(folder: Path) -> None:
        (make or _with_store)(folder)
        for number, run in enumerate(runs):
            (folder / f"{number}.yaml").write_text(config.dump(run))

    def command(folder: Path, attempt: int) -> Command:
        files = (f"{number}.yaml" for number in range(len(runs)))
        return Command(arguments=("train", *files), cwd=folder, ranks=ranks(attempt), setup=SETUP)

    return Scene(name=name, make=lay_out, command=command, prints=prints, whole=whole, same=SAME,
                 alone=ranks(0) == [{}])  # fmt: skip


def _with_store(folder: Path) -> None:
    make_store(folder / "toy")


def _with_source(folder: Path) -> None:
    """A pretext run that is done, whose convolutions others begin from."""
    from hpc_astrossl.training.run import train

    make_store(folder / "toy")
    make_store(folder / "pretext", objects=24, seed=1, prefix="P", ra=100)
    train(EARLIER, folder)


def prints(folder: Path) -> Prints:
    """What every run left: files byte for byte, numbers without times, and names of all files."""
    return digests(folder / "features", but=lambda name: name.endswith(".lock")) | run_prints(folder)


def run_prints(folder: Path) -> Prints:
    """The same of the runs alone."""
    found: Prints = {}
    for path in sorted(file.parent for file in (folder / "runs").glob("*/[!.]*/config.yaml")):
        found |= {f"{path.name}/{name}": value for name, value in whole_run(path).items()}
        lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
        found[f"{path.name}/metrics.jsonl"] = [{k: v for k, v in line.items() if k not in TIMES} for line in lines]
        found[f"{path.name}/files"] = sorted(str(one.relative_to(path)) for one in path.rglob("*"))
    return found


def whole(folder: Path) -> Prints:
    """The same of those that look done."""
    runs = [path for path in (folder / "runs").glob("*/*") if (path / "result.json").exists()]
    return {f"{path.name}/{name}": value for path in runs for name, value in whole_run(path).items()}


def whole_run(path: Path) -> Prints:
    """Digests of a finished run's arrays and weights, and what its result holds."""
    result = json.loads((path / "result.json").read_text())
    left = digests(path, but=lambda name: not name.endswith((".npz", ".safetensors")))
    return left | {key: result.get(key) for key in KEPT}


def _torch_ranks(attempt: int) -> list[dict[str, str]]:
    """What torchrun would set, at a port of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1])}
    return [HANG | place | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(2)]


def _slurm_ranks(attempt: int) -> list[dict[str, str]]:
    """What Slurm would set for two tasks of a step on one node; requeued, its count of restarts is higher."""
    step = {"SLURM_JOB_ID": "71", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "2", "SLURM_NODEID": "0",
            "SLURM_STEP_TASKS_PER_NODE": "2", "SLURMD_NODENAME": "n1", "SLURM_RESTART_COUNT": str(attempt)}  # fmt: skip
    return [HANG | step | {"SLURM_PROCID": str(rank), "SLURM_LOCALID": str(rank)} for rank in range(2)]
