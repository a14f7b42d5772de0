"""Objects per second of every loader: ours, the peers', and the limit; growth with the set; memory; randomness.

    python benchmarks/loading.py [--objects 20000] [--rounds 3] [--data DIR]

Same objects, same augmentation (flips both ways, 90° turns, uint8 to 0..1 in float32), batches of 128. Each loader runs
in a process of its own for some seconds; the loaders take turns, round after round, and the medians are compared with
the limit of the same round, so that other work on the machine cancels. Peers: benchmarks/requirements-loading.txt; one
that is not installed is left out and named. Writes results/loading.json and results/loading.svg; with fewer ``--kinds``
results/loading_KIND_KIND.json, without growth and randomness.
"""

import argparse
import json
import multiprocessing
import os
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

HERE = Path(__file__).parent
sys.path[:0] = [str(HERE.parent), str(HERE)]

ALL = ["rgb", "bands", "jpeg", "png"]
WARM, MEASURE = 0.5, 2.5  # seconds
SIZES = (2_000, 20_000, 200_000)
LIMIT = "limit: array in memory, vectorised"


def measure(name: str, folder: Path, kind: str, resident: bool) -> dict:
    """Objects per second and peak memory of one loader in this process."""
    import torch
    from loading_peers import BATCH, LOADERS

    torch.set_num_threads(1)
    batches = LOADERS[name][0](folder, kind)
    objects = len(np.load(folder / "images.npy", mmap_mode="r"))
    for _ in range(objects // BATCH + 1 if resident else 2):  # what is kept in memory is read in the first epoch
        next(batches)
    _run(batches, WARM)
    before = _cpu()
    count, seconds = _run(batches, MEASURE, objects)
    cpu = (_cpu() - before) / count * 1e6
    return {"rate": round(count / seconds), "cpu_us": round(cpu, 1), "peak_mb": _peak_mb()}


def _cpu() -> float:
    """CPU seconds of this process and of its workers so far."""
    tick, own = os.sysconf("SC_CLK_TCK"), os.times()
    stats = [Path(f"/proc/{child.pid}/stat").read_text() for child in multiprocessing.active_children()]
    fields = [stat.rpartition(")")[2].split() for stat in stats]
    return (
        own.user + own.system + sum(int(user) + int(system) for user, system in (row[11:13] for row in fields)) / tick
    )


def _peak_mb() -> int:
    """The most memory this process has held; getrusage would count that of the process which started it."""
    found = re.search(r"VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text())
    return int(found[1]) // 1024


def _run(batches, seconds: float, objects: int = 0) -> tuple[int, float]:
    """Take batches for some time and, so that what is read ahead does not count, as many objects as there are."""
    count, begin = 0, time.perf_counter()
    while (passed := time.perf_counter() - begin) < seconds or count < objects:
        count += len(next(batches))
    return count, passed


def in_a_process(name: str, folder: Path, kind: str) -> dict:
    """``measure`` in a fresh interpreter; {"error": …} when it failed before it had measured.

    (FFCV's sometimes aborts when it ends.)
    """
    words = [sys.executable, __file__, "--one", name, "--data", str(folder), "--kind", kind]
    try:
        done = subprocess.run(words, capture_output=True, text=True, timeout=120)
    except subprocess.TimeoutExpired:
        return {"error": "no batch within two minutes"}
    lines = done.stdout.strip().splitlines()
    if done.returncode and not (lines and lines[-1].startswith("{")):
        return {"error": done.stderr.strip().splitlines()[-1][:200]}
    return json.loads(lines[-1])


def compare(folder: Path, kind: str, rounds: int) -> dict:
    """Every loader of that kind of images, by turns: {name: {rate, of_limit, …}} of medians."""
    from loading_peers import LOADERS

    names = [name for name, (_, kinds) in LOADERS.items() if kind in kinds]
    found: dict[str, list[dict]] = {name: [] for name in names}
    for number in range(rounds):
        for name in names:
            result = in_a_process(name, folder, kind)
            found[name].append(result)
            print(f"{kind} round {number + 1}: {name:36} {result}", flush=True)
    return {name: summary(results, found.get(LIMIT)) for name, results in found.items()}


def summary(results: list[dict], limits: list[dict] | None) -> dict:
    """Medians of the rounds; the ratio to the limit is taken in each round."""
    if errors := [result["error"] for result in results if "error" in result]:
        return {"error": errors[0]}
    rates = [result["rate"] for result in results]
    row = {"rate": round(statistics.median(rates)), "rates": rates, "peak_mb": results[-1]["peak_mb"],
           "cpu_us": statistics.median(result["cpu_us"] for result in results)}  # fmt: skip
    if limits and all("rate" in limit for limit in limits):
        ratios = [rate / limit["rate"] for rate, limit in zip(rates, limits, strict=True)]
        row["of_limit"] = round(statistics.median(ratios), 2)
    return row


def growth(folder: Path, rounds: int) -> dict:
    """Our streamed and resident RGB loaders on sets of three sizes."""
    from loading_data import write_all
    from loading_peers import SHAPES

    for size in SIZES:
        write_all(folder / str(size), "rgb", SHAPES["rgb"], size, peers=False)
        np.save(folder / str(size) / "images.npy", np.zeros(size, dtype=np.uint8))  # only its length is asked for
    found: dict[str, dict[str, list]] = {}
    for number in range(rounds):
        for name in ("ours, streamed", "ours, resident"):
            for size in SIZES:
                result = in_a_process(name, folder / str(size), "rgb")
                found.setdefault(name, {}).setdefault(str(size), []).append(result)
                print(f"{size} objects, round {number + 1}: {name} {result}", flush=True)
    return {name: {size: summary(results, None) for size, results in sizes.items()} for name, sizes in found.items()}


def randomness(objects: int = 200_000, chunk: int = 64, batch: int = 128) -> dict:
    """How far the streamed order is from a plain shuffle when the store is sorted by class, the worst case.

    ``neighbours``: correlation of the row numbers of neighbours in the order; ``class_spread``: standard deviation of
    the count of one of ten classes in a stretch of 1 % of the epoch, over that of a plain shuffle; ``same_chunk``:
    pairs of one chunk in a batch, over those of a plain shuffle.
    """
    from hpc_astrossl.loading.order import epoch_order

    rows, found = np.arange(objects), {}
    for name, window in (("ours", None), ("plain shuffle", objects)):
        options = {} if window is None else {"window": window}
        order = epoch_order(rows, chunk, seed=0, epoch=0, batch_size=batch, **options)
        stretches = (order * 10 // objects).reshape(100, -1)
        counts = np.stack([(stretches == label).sum(axis=1) for label in range(10)])
        batches = np.sort(order[: objects // batch * batch].reshape(-1, batch) // chunk, axis=1)
        same = sum(int((n * (n - 1)).sum()) for n in (np.unique(b, return_counts=True)[1] for b in batches))
        within = np.array([(order[i : i + batch] * 10 // objects == 0).sum() for i in range(0, len(order), batch)][:-1])
        found[name] = {"neighbours": float(np.corrcoef(order[:-1], order[1:])[0, 1]), "same_chunk": same,
                       "class_spread": float(counts.std()), "class_spread_of_a_batch": float(within.std())}  # fmt: skip
    plain = found["plain shuffle"]
    ratios = {key: round(found["ours"][key] / plain[key], 2) for key in plain if key != "neighbours"}
    return {"neighbours": round(found["ours"]["neighbours"], 4), "over_a_plain_shuffle": ratios}


def draw(comparison: dict, path: Path) -> None:
    """Bars of objects per second, a panel for each kind of images."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "loading"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(1, len(comparison), figsize=(5 * len(comparison), 4), layout="constrained")
    for axis, (kind, rows) in zip(np.atleast_1d(axes), comparison.items(), strict=True):
        bars = sorted(((row["rate"], name) for name, row in rows.items() if "rate" in row))
        colours = ["#222222" if name == LIMIT else "#1f77b4" if "ours" in name else "#bbbbbb" for _, name in bars]
        axis.barh([name for _, name in bars], [rate for rate, _ in bars], color=colours)
        axis.set(title=kind, xlabel="objects per second", xscale="log")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Make the data, measure, print a table, write the JSON and the plot."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--kinds", default=",".join(ALL))
    parser.add_argument("--data", type=Path, help="where to put the data; a folder that does not exist")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--kind", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(measure(options.one, options.data, options.kind, "resident" in options.one)), flush=True)
        return
    with tempfile.TemporaryDirectory() as name:
        run(options, options.data or Path(name))


def run(options: argparse.Namespace, folder: Path) -> None:
    """The whole benchmark, its data below ``folder``."""
    from loading_data import write_all
    from loading_peers import SHAPES

    from hpc_astrossl import provenance

    comparison, kinds = {}, options.kinds.split(",")
    for kind in kinds:
        write_all(folder / kind, kind, SHAPES[kind], options.objects, peers=True)
        comparison[kind] = compare(folder / kind, kind, options.rounds)
    facts = {"cores": os.cpu_count(), "load": os.getloadavg(), "machine": platform.machine()}
    result = {"comparison": comparison, "objects": options.objects, "rounds": options.rounds,
              "libraries": provenance.libraries(), "where": facts}  # fmt: skip
    record = HERE / f"results/loading_{'_'.join(kinds)}.json"
    if kinds == ALL:
        result |= {"growth": growth(folder / "growth", options.rounds), "randomness": randomness()}
        record = HERE / "results/loading.json"
        draw(comparison, record.with_suffix(".svg"))
    record.write_text(json.dumps(result, indent=1) + "\n")
    for kind, rows in comparison.items():
        for name, row in sorted(rows.items(), key=lambda item: -item[1].get("rate", 0)):
            print(f"{kind:6} {name:36} {row.get('rate', row.get('error'))!s:>10}  {row.get('of_limit', '')}")
    print(json.dumps({name: result.get(name) for name in ("growth", "randomness")}))


if __name__ == "__main__":
    main()
