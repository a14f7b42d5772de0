"""A store of any number of rows for ``scale.py``: one shard and one chunk of each column, linked as often as it takes.

Every file is there and is what the manifest says; what is read is real, and repeats itself every 65,536 rows.
"""

import hashlib
import json
import os
import resource
import shutil
import time
from functools import partial
from pathlib import Path

import numpy as np

from hpc_astrossl.manifest import MANIFEST, SUMS
from hpc_astrossl.store import SPLITS, StoreInfo, check, create, open_store

TRAINED = {f"{target}, {'all' if size is None else size}": (target, size)
           for target in ("classes", "magnitudes") for size in (10_000, None)}  # fmt: skip
SHAPE, BANDS, ROWS, LINKS = (8, 8, 3), ("g", "r"), 1 << 16, 60_000  # a file system allows so many links to a file


def make(path: Path, count: int, *, prefix: str = "object", seed: int = 0) -> None:
    """The store of ``count`` rows, a multiple of 65,536."""
    random = np.random.default_rng(seed)
    writer = create(path, shape=(ROWS, *SHAPE), dtype=np.dtype("uint8"), bands=len(BANDS))
    split = random.choice([0, 0, 0, 1, 2], ROWS).astype(np.uint8)
    writer.write_table({
        "object_id": np.array([f"{prefix}-{i:012d}" for i in range(ROWS)]),
        "ra": random.uniform(0, 360, ROWS), "dec": random.uniform(-40, 2, ROWS) + 60 * (seed > 0), "split": split,
        "label": random.integers(-1, 2, ROWS).astype(np.int16),
        "magnitudes": random.normal(19, 1, (ROWS, 2)).astype(np.float32),
        "magnitude_errors": random.exponential(0.1, (ROWS, 2)).astype(np.float32),
    })  # fmt: skip
    for start, stop in writer.shards:
        writer.write_images(start, random.integers(0, 256, (stop - start, *SHAPE), dtype=np.uint8))
    writer.finish(StoreInfo(name="claims", survey="s", release="r", bands=BANDS, channels=("i", "r", "g"),
                            class_names=("a", "b"), pixel_scale=0.5, counts={"kept": count}, recipe={}))  # fmt: skip
    _multiply(path, count // ROWS)


def _multiply(path: Path, times: int) -> None:
    """Claim so many times the rows, and link the files of those that are there."""
    listed = json.loads((path / MANIFEST).read_text())["files"]
    for place in path.glob("*/zarr.json"):
        about, array = json.loads(place.read_text()), place.parent.name
        about["shape"][0] *= times
        place.write_text(json.dumps(about))
        own = [(name, facts) for name, facts in listed.items() if name.startswith(f"{array}/c/")]
        for name, facts in own:
            number, *rest = name.removeprefix(f"{array}/c/").split("/")
            for turn in range(1, times):
                new = "/".join([array, "c", str(int(number) + turn * len(own)), *rest])
                (path / new).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(path / name, path / new) if turn % LINKS == 0 else os.link(path / name, path / new)
                rows = {"rows": [row + turn * ROWS for row in facts["rows"]]} if "rows" in facts else {}
                listed[new] = facts | rows
        listed[f"{array}/zarr.json"] = _about(place)
    sums = path / SUMS
    sums.write_bytes(sums.read_bytes() * times)
    listed |= {name: _about(path / name) for name in ("zarr.json", SUMS)}
    (path / MANIFEST).write_text(json.dumps({"files": listed}, indent=1))


def _about(path: Path) -> dict:
    return {"bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()}


def step(name: str, folder: Path, count: int) -> dict:
    """What a command asks of the store, in this process: CPU, and memory beyond what a small store takes."""
    asked = {name: partial(_train, *wish) for name, wish in TRAINED.items()}
    asked |= {"info": _info, "check": _check, "leakage": _leakage, "predict": _predict, "kept": _objects,
              "seen": _seen}  # fmt: skip
    work = asked[name]
    work(folder / f"{ROWS}.zarr")  # all libraries are there now
    before, begun = _memory(), (time.monotonic(), time.process_time())
    told = work(folder / f"{count}.zarr")
    return {"told": told, "wall_s": round(time.monotonic() - begun[0], 2),
            "cpu_s": round(time.process_time() - begun[1], 2), "memory_mb": round(_memory() - before)}  # fmt: skip


def _info(path: Path) -> str:
    """Open it, and find the objects of each split."""
    store = open_store(path)
    return ", ".join(f"{split} {len(store.members(split)):,}" for split in SPLITS)


def _check(path: Path) -> str:
    return "; ".join(check(path))[:100]


def _leakage(path: Path) -> str:
    """Whether objects of it are in a labelled store, which is asked before a network goes on there."""
    from hpc_astrossl.training.leakage import Seen, check_leakage

    seen = Seen(run="earlier", store=str(path), objects=open_store(path).table)
    return str(check_leakage(seen, open_store(path.with_name("labelled.zarr"))))


def _train(target: str, size: int | None, path: Path) -> str:
    """What a run opens before its first step beside weights and pixels."""
    from hpc_astrossl.specs.run import DataSpec, ModelSpec, PhaseSpec, RunSpec
    from hpc_astrossl.training.data import open_data

    phase = PhaseSpec(trains="all", optimizer="adam", learning_rate=1e-3, epochs=1)
    run = RunSpec(experiment="e", set="s", scheme="scratch", seed=0, phases=(phase,), model=ModelSpec(),
                  data=DataSpec(store=path.name, target=target, train_size=size))  # fmt: skip
    data = open_data(run, path.parent)
    data.target.first_output(data.learnt())
    return ", ".join(f"{split} {len(rows):,}" for split, rows in data.rows.items())


def _objects(path: Path) -> str:
    """The file of all objects that a run has read, which it writes in the end."""
    from hpc_astrossl.identity import OBJECTS
    from hpc_astrossl.training.folder import RunFolder
    from hpc_astrossl.training.leakage import columns

    folder, store = RunFolder(path.with_suffix(".run")), open_store(path)
    folder.path.mkdir(exist_ok=True)
    folder.write_columns(OBJECTS, columns(store, store.members()))
    return f"{(folder.path / OBJECTS).stat().st_size / 1e6:,.0f} MB"


def _seen(path: Path) -> str:
    """Whether objects that a run has kept are in a labelled store, which is asked before a network goes on there."""
    from hpc_astrossl import provenance
    from hpc_astrossl.identity import OBJECTS, Made
    from hpc_astrossl.training.leakage import check_leakage, seen_by

    folder, made = path.with_suffix(".run"), Made.of({"run_id": "earlier", "store": {"path": path.name}})
    seen = seen_by(folder, made, provenance.sha256(folder / OBJECTS), path.parent)
    found = check_leakage(seen, open_store(path.with_name("labelled.zarr")))
    return f"compared {found['compared']:,}, shared {found['shared']}"


def _predict(path: Path) -> str:
    """What ``predict`` and ``embed`` ask beside pixels: the columns of a hundred parts from everywhere."""
    store = open_store(path)
    rows = store.members()
    for first in range(0, len(rows), max(4096, len(rows) // 100)):
        some = rows[first : first + 4096]
        for name in ("object_id", "label", "ra", "dec"):
            store.table.part(name, int(some[0]), int(some[-1]) + 1)
    return f"{len(rows):,} objects"


def _memory() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
