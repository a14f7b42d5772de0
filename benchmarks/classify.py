"""Time and memory of ``classify``, and frames of explore.html: ``python benchmarks/classify.py [--objects N]``.

Writes an embedding of N objects × 512 features in ten overlapping classes, labels 100 of them, and runs the command in
a process of its own; CPU seconds are told too, which a busy machine changes less. Then makes a page of ``--points``
objects, opens it in Chromium without a window (no graphics card), and tells the time until its first frame and, while
the map is moved a little every frame, the frames a second. Writes benchmarks/results/classify.json.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import accuracies
import numpy as np

from hpc_astrossl.explore import page
from hpc_astrossl.labels import Label, write_labels
from hpc_astrossl.store import embedding

sys.path.insert(0, str(Path(__file__).parent.parent / "tests"))
from browser import CHROMIUM, browser

WIDTH, CLASSES, LABELS, BLOCK, FRAMES = 512, 10, 100, 50_000, 60
TIMED = """
import json, resource, sys, time
from hpc_astrossl.cli import main
begin = time.monotonic()
status = main(sys.argv[1:])
used = resource.getrusage(resource.RUSAGE_SELF)
told = {"seconds": time.monotonic() - begin, "cpu_seconds": used.ru_utime + used.ru_stime}
print(json.dumps(told | {"peak_mb": used.ru_maxrss // 1024, "status": status}), file=sys.stderr)
"""
MOVED = """new Promise(done => {
  const begin = performance.now(); let frames = 0;
  const step = () => {
    plot.move(frames % 2 ? 40 : -40, 7); frames++; // draws once, in the next frame
    if (frames < COUNT) requestAnimationFrame(step); else done(1000 * frames / (performance.now() - begin));
  };
  requestAnimationFrame(step);
})"""


def write_embedding(path: Path, objects: int, width: int = WIDTH) -> np.ndarray:
    """An embedding of clouds around ten centres; returns the true classes."""
    source = np.random.default_rng(0)
    centres = source.normal(0, 0.35, (CLASSES, width)).astype(np.float32)
    truth = source.integers(0, CLASSES, objects)

    def parts():
        for start in range(0, objects, BLOCK):
            here = truth[start : start + BLOCK]
            features = source.standard_normal((len(here), width), dtype=np.float32) + centres[here]
            ids = np.array([f"C{row:07d}" for row in range(start, start + len(here))])
            yield {"object_id": ids, "features": features, "label": np.full(len(here), -1, np.int16)}

    embedding.write(path, parts(), rows=objects, about={"run": "made up", "store": None, "class_names": []})
    return truth


def classify(work: Path, objects: int) -> dict:
    """Seconds and megabytes of the command, and how many of the hidden objects it calls right."""
    truth = write_embedding(work / "e.zarr", objects)
    chosen = np.random.default_rng(1).permutation(objects)[:LABELS]
    write_labels(work / "labels.csv", {f"C{row:07d}": Label(name=f"class {truth[row]}") for row in chosen})
    command = ["classify", str(work / "e.zarr"), "--labels", str(work / "labels.csv"), "--out", str(work / "c.npz")]
    done = subprocess.run([sys.executable, "-c", TIMED, *command], capture_output=True, text=True, check=True)
    with np.load(work / "c.npz", allow_pickle=False) as found:
        right = found["class"] == np.char.add("class ", truth.astype(str))
    told = json.loads((work / "c.json").read_text())
    return {"objects": objects, "features": WIDTH, "labels": LABELS, **json.loads(done.stderr.splitlines()[-1]),
            "chosen": told["chosen"], "accuracy_told": told["models"][told["chosen"]]["accuracy"],
            "accuracy_of_all": float(right.mean())}  # fmt: skip


def browse(work: Path, points: int) -> dict:
    """Seconds until a page of so many points has drawn itself, and frames a second while it is moved."""
    source = np.random.default_rng(0)
    shown = page.Shown(
        key="benchmark", title="points", ids=[f"SPLUS.STRIPE82-0001.{row:07d}" for row in range(points)], of=points,
        points=np.clip(source.normal(0.5, 0.15, (points, 2)), 0, 1), near=source.integers(0, points, (points, 12)),
        outliers=np.arange(300), upnext=np.arange(0), sample=np.arange(300), classes=["star", "galaxy"], pictures=None,
        columns={f"column {i}": source.normal(size=points) for i in range(8)}
        | {"class": source.choice(["star", "galaxy"], points)},
        sky=(source.uniform(0, 360, points), source.uniform(-80, 80, points)),
    )  # fmt: skip
    path = work / "explore.html"
    path.write_text(page.text(shown), encoding="utf-8")
    with browser(work / "profile") as chromium:
        begin = time.monotonic()
        chromium.open(path)
        chromium.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
        opened = time.monotonic() - begin
        rate = chromium.evaluate(MOVED.replace("COUNT", str(FRAMES)))
        assert not chromium.faults, chromium.faults
    return {"points": points, "page_mb": path.stat().st_size / 1e6, "opened_seconds": opened, "frames_a_second": rate}


def main() -> None:
    """Measure, write, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--objects", type=int, default=1_000_000)
    parser.add_argument("--points", type=int, default=100_000)
    wanted = parser.parse_args()
    if CHROMIUM is None:
        sys.exit("no Chromium here; apt-get install chromium")
    with tempfile.TemporaryDirectory(prefix="astrossl-classify-") as work:
        record = {"page": browse(Path(work), wanted.points), "classify": classify(Path(work), wanted.objects)}
    print(json.dumps(record, indent=1))
    print(accuracies.write("classify", record))


if __name__ == "__main__":
    main()
