"""Every pretext on the same images, measured on labelled sets: ``python benchmarks/pretexts.py [--study NAME …]``.

The record, benchmarks/results/pretexts.json, is where the study goes on: it holds one row a finished run, under the
run's id, and what is there is never made again, on whatever machine. A row is of no use any more when the run's id (its
whole configuration, with the pretext's that it begins from) or what its store is made from has changed. What is
missing is made in ``--workdir``: the survey is simulated there; ``sdss`` wants unlabelled/ and efigi/
(jobs/pretexts_sdss.yaml).

``--table`` runs nothing and prints what the record says.
"""

import argparse
import contextlib
import fcntl
import hashlib
import json
import shutil
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import accuracies
import floors
import numpy as np
from simulated import FIELD

from hpc_astrossl import config, provenance
from hpc_astrossl.files import write_aside
from hpc_astrossl.launch import prepare
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.plan import Item, Plan, run_folder
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.specs.run import RunSpec

RECORD = accuracies.RESULTS / "pretexts.json"
SURVEY = ("--fields", "8", *FIELD, "--seed", "0")
SOURCES = {
    "survey": " ".join(("astrossl simulate", *SURVEY)),
    "efigi": "EFIGI 1.6.2",
    "unlabelled": "2,500 SDSS cutouts",
}


@dataclass(frozen=True, kw_only=True)
class Study:
    """A jobs recipe with one network."""

    recipe: str
    backbone: str = "vgg16"


STUDIES = {
    "simulated": Study(recipe="pretexts"),
    "controls": Study(recipe="pretexts_controls"),
    "sdss": Study(recipe="pretexts_sdss"),
    "simulated-resnet18": Study(recipe="pretexts", backbone="resnet18"),
    "controls-resnet18": Study(recipe="pretexts_controls", backbone="resnet18"),
    "sdss-resnet18": Study(recipe="pretexts_sdss", backbone="resnet18"),
}


def planned(study: Study, precision: str | None = None) -> tuple[JobsSpec, Plan]:
    """The recipe with the study's network, under an experiment of its own, and its runs; precision if not its own."""
    data = config.read_yaml(accuracies.BENCHMARKS.parent / "jobs" / f"{study.recipe}.yaml")
    if study.backbone != "vgg16":
        data["experiment"] += f"-{study.backbone}"
        data["overrides"] = config.merge(data["overrides"], {"all": {"model": {"backbone": study.backbone}}})
    if precision is not None:
        data["overrides"] = config.merge(data["overrides"], {"all": {"model": {"precision": precision}}})
    jobs = config.parse(data, JobsSpec, study.recipe)
    return jobs, expand(jobs, unavailable=prepare.unavailable(None, prepare.backbones_of(jobs)))


def origins(jobs: JobsSpec) -> dict[str, str]:
    """Of each store, a digest of what it is made from: the recipe's text, settings, and what the source is."""
    found = {}
    for spec in jobs.preprocess:
        recipe = (accuracies.BENCHMARKS.parent / spec.recipe).read_bytes()
        words = json.dumps([SOURCES[spec.source], spec.out, *spec.settings]).encode()
        found[spec.out] = hashlib.sha256(recipe + words).hexdigest()[:12]
    return found


class Record:
    """The rows of all studies, on disk after each change; several processes may add to it."""

    def rows(self) -> dict[str, dict[str, Any]]:
        """By run id."""
        return json.loads(RECORD.read_text())["runs"] if RECORD.exists() else {}

    def add(self, more: dict[str, dict[str, Any]]) -> None:
        """Put rows in."""
        with self._alone():
            rows = self.rows() | more
            head = {"command": "python benchmarks/pretexts.py", "version": provenance.code()["version"],
                    "date": provenance.now(), "survey": " ".join(SURVEY)}  # fmt: skip
            lines = ",\n".join(f"  {json.dumps(key)}: {json.dumps(rows[key])}" for key in sorted(rows))
            text = json.dumps(head, indent=1)[:-2] + ',\n "runs": {\n' + lines + "\n }\n}\n"
            write_aside(RECORD, text.encode())

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        with open(RECORD.parent / ".pretexts.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield


def row(run: RunSpec, result: dict[str, Any], folder: Path, facts: dict[str, str]) -> dict[str, Any]:
    """What the record keeps of a finished run; ``right`` are the test objects it named right, as hexadecimal bits."""
    code = result["provenance"]["code"]
    kept = {**facts, "set": run.set, "scheme": run.scheme, "seed": run.seed, "size": run.data.train_size,
            "target": run.data.target, "control": result["control"], "objects": result["objects"],
            "epochs": result["epochs"], "seconds": round(result["seconds"], 1), "device": result["device"],
            "commit": code["commit"], "date": result["provenance"]["date"],
            "test": result["metrics"]["test"]}  # fmt: skip
    if run.data.target != "classes":
        last = result.get("pretext", {}).get("last_epoch", {})
        return kept | {"switches": run.pretext, "last_epoch": last}
    kept["test"] = {key: kept["test"][key] for key in ("accuracy", "balanced_accuracy", "loss")}
    kept |= {"validation": result["metrics"]["validation"]["accuracy"], "majority": result["majority_share"]["test"],
             "collapsed": result["collapsed"]}  # fmt: skip
    with np.load(folder / "predictions.npz", allow_pickle=False) as found:
        test = found["split"] == "test"
        right = found["output"][test].argmax(axis=1) == found["truth"][test]
    return kept | {"right": np.packbits(right).tobytes().hex()}


class Worker:
    """Makes what the record lacks of one study, in a work directory."""

    def __init__(self, name: str, options: argparse.Namespace):
        self.name, self.study, self.workdir = name, STUDIES[name], options.workdir
        self.keep, self.sizes = options.keep, options.sizes
        self.jobs, self.plan = planned(self.study, options.precision)
        self.origin, self.record = origins(self.jobs), Record()

    def facts(self, run: RunSpec) -> dict[str, str]:
        """What a row says beside its run, and is held against."""
        return {"study": self.name, "network": self.study.backbone, "precision": run.model.precision,
                "origin": self.origin[run.data.store]}  # fmt: skip

    def missing(self, runs: Iterable[RunSpec]) -> list[RunSpec]:
        """Those without a row that still holds."""
        rows = self.record.rows()
        return [run for run in runs if rows.get(run.run_id, {}).get("origin") != self.origin[run.data.store]]

    def work(self, kinds: list[str]) -> None:
        """Make the runs of these schemes, or of these kinds of scheme, one by one, and the pretexts that they need."""
        every = [item for item in self.plan.items if item.run is not None]
        pretexts = {item.key: item for item in every if item.run.scheme == "pretext"}
        for kind in kinds:
            for scheme in self.jobs.schemes:
                if kind not in (scheme, scheme.partition("-")[0]):
                    continue
                asked = [item for item in every if item.run.scheme == scheme and self.asked(item)]
                todo = {run.run_id for run in self.missing(item.run for item in asked)}
                if todo:
                    needed = [pretexts[key] for item in asked for key in item.needs if key in pretexts]
                    self.train(list({item.key: item for item in needed}.values()))
                    self.train([item for item in asked if item.key in todo])

    def asked(self, item: Item) -> bool:
        """Whether the run has one of the sizes asked for; all do where none was named."""
        return self.sizes is None or str(item.run.data.train_size or "all") in self.sizes

    def train(self, items: list[Item]) -> None:
        """Train runs that are not done in the work directory, and record them."""
        self.prepare({item.run.data.store for item in items})
        for item in items:
            path = self.workdir / run_folder(item.run)
            path.mkdir(parents=True, exist_ok=True)
            (path / "config.yaml").write_text(config.dump(item.run))
        todo = [item for item in items if not (self.workdir / item.produces).exists()]
        if todo:
            configs = [self.workdir / run_folder(item.run) / "config.yaml" for item in todo]
            print(f"{self.name}: {todo[0].run.scheme} {todo[0].run.set}, {len(todo)} runs", flush=True)
            accuracies.astrossl("train", *configs, "--workdir", self.workdir)
        self.record.add({item.key: self.row(item.run) for item in items})
        if not self.keep:
            for item in items:
                if item.run.scheme != "pretext":  # 60 MB each; pretexts are begun from
                    shutil.rmtree(self.workdir / run_folder(item.run))

    def row(self, run: RunSpec) -> dict[str, Any]:
        """Of a run that is done here."""
        folder = self.workdir / run_folder(run)
        return row(run, json.loads((folder / "result.json").read_text()), folder, self.facts(run))

    def prepare(self, stores: set[str]) -> None:
        """Make the stores that are not there, and the survey before."""
        accuracies.lay_out(self.workdir)
        for item in self.plan.items:
            if item.store is None or item.key not in stores or (self.workdir / item.produces).exists():
                continue
            survey = self.workdir / "survey"
            if item.store.source == "survey" and not (survey / "done").exists():
                accuracies.astrossl("simulate", survey, *SURVEY)
                (survey / "done").touch()
            recipe, source, out = (
                self.workdir / part for part in (item.store.recipe, item.store.source, item.store.out)
            )
            settings = [word for setting in item.store.settings for word in ("--set", setting)]
            accuracies.astrossl(
                "preprocess", recipe, "--source", source, "--out", out.parent, "--store", out.stem, *settings
            )

    def floors(self) -> None:
        """Seven nearest neighbours among pixels, of every set, seed and size."""
        asked = [item.run for item in self.plan.items if item.run is not None and item.run.scheme == "features-random"]
        rows = self.record.rows()
        for run in asked:
            key = floors.name(run)
            if rows.get(key, {}).get("origin") != self.origin[run.data.store]:
                self.prepare({run.data.store})
                self.record.add({key: self.facts(run) | floors.neighbours(run, self.workdir)})


def main() -> None:
    """Run what is missing, study by study, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--workdir", type=Path, default=Path("pretexts"), help="default: pretexts")
    parser.add_argument("--study", choices=STUDIES, action="append", help="may be repeated (default: all)")
    parser.add_argument("--kinds", nargs="+", default=["features", "scratch", "finetune"],
                        help="of schemes, or schemes, in this order")  # fmt: skip
    parser.add_argument("--sizes", nargs="+", help="labels of the runs to make, as 25 100 all (default: every size)")
    parser.add_argument("--precision", choices=["float32"], help="for CPUs on which bfloat16 is slow (no AVX-512)")
    parser.add_argument("--keep", action="store_true", help="keep the folders of all runs, 60 MB each")
    parser.add_argument("--table", action="store_true", help="run nothing: print what the record says")
    options = parser.parse_args()
    for name in [] if options.table else options.study or STUDIES:
        worker = Worker(name, options)
        if not name.startswith("controls"):
            worker.floors()
        worker.work(options.kinds)
    from pretexts_table import overview, told

    rows = Record().rows()
    print(overview(rows), overview(rows, None), told(rows), sep="\n\n")


if __name__ == "__main__":
    main()
