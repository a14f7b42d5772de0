"""Rows of the table: run folders and experiments that are half-written, damaged or of something else."""

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
from run_folders import spec, write_run

from faults import stock
from faults.bad_weights import Code
from faults.cases import REFUSED, TOLERATED, cut, spoiling


def asked(folder: Path) -> list[str]:
    return ["predict", str(stock.copy(folder)), str(folder / "toy"), "--out", str(folder / "answers.csv")]


def exported(folder: Path) -> list[str]:
    return ["weights", "export", str(stock.copy(folder)), str(folder / "mine.pth")]


def reported(folder: Path) -> list[str]:
    """A study of two finished runs, the second of which a row spoils."""
    for seed in (0, 1):
        write_run(folder / "runs" / "study", spec("SG", "scratch", seed))
    return ["report", "study", "--workdir", str(folder)]


def shown(folder: Path) -> list[str]:
    reported(folder)
    (folder / "runs/study/experiment.json").write_text(
        json.dumps({"experiment": "study", "planned": [], "skipped": []})
    )
    (folder / "runs/study/.tasks").mkdir()
    return ["status", "study", "--workdir", str(folder)]


def trained(folder: Path) -> list[str]:
    stock.copy(folder)
    return ["train", str(folder / "run.yaml"), "--workdir", str(folder)]


def run(folder: Path) -> Path:
    return folder / stock.run().relative_to(stock.workdir())


def second(folder: Path) -> Path:
    return folder / "runs/study" / spec("SG", "scratch", 1).run_id


def result(change: Callable[[dict], object], where: Callable[[Path], Path] = run) -> Callable[[Path], object]:
    """A row's spoiling: another ``result.json``."""

    def spoil(folder: Path) -> None:
        path = where(folder) / "result.json"
        path.write_text(json.dumps(change(json.loads(path.read_text()))))

    return spoil


def drop(key: str) -> Callable[[dict], dict]:
    return lambda data: {name: value for name, value in data.items() if name != key}


def pickled_cutouts(folder: Path) -> None:
    np.savez(run(folder) / "cutouts.npz", images=np.array([Code()], dtype=object), object_id=np.array(["a"]))


predict, export, train = (
    spoiling("run folder", asked),
    spoiling("run folder", exported),
    spoiling("run folder", trained),
)
report, status = spoiling("study", reported), spoiling("study", shown)
CASES = [
    predict("half written", lambda f: (run(f) / "result.json").unlink(), REFUSED, "not the folder of a finished run"),
    predict("result cut off", lambda f: cut(run(f) / "result.json"), REFUSED, r"result\.json: damaged"),
    predict("result of zero bytes", lambda f: cut(run(f) / "result.json", 0), REFUSED, r"result\.json: damaged"),
    predict("result that is a list", result(lambda _: [1]), REFUSED, r"result\.json: not of a run"),
    predict("result of another program", result(lambda data: data | {"format": "keras"}), REFUSED,
            r"result\.json: not of a run \(format 'keras', expected 'astrossl-run'\)"),
    predict("result of a later version", result(lambda data: data | {"version": 9}), REFUSED,
            r"result\.json: has version 9, this program reads version 1"),
    predict("result without its classes", result(drop("class_names")), REFUSED, r"result\.json: damaged: .*class_na"),
    predict("fewer classes than outputs", result(lambda data: data | {"class_names": ["red"]}), REFUSED,
            r"result\.json: damaged: 1 classes, and its network has 2 outputs"),
    predict("configuration missing", lambda f: (run(f) / "config.yaml").unlink(), REFUSED, r"config\.yaml: no such fi"),
    predict("configuration of another run", lambda f: shutil.copy(f / "run.yaml", run(f) / "config.yaml") and
            (run(f) / "config.yaml").write_text((f / "run.yaml").read_text().replace("hidden: 64", "hidden: 32")),
            REFUSED, r"config\.yaml: was edited after the run"),
    predict("cutouts missing", lambda f: (run(f) / "cutouts.npz").unlink(), REFUSED, r"cutouts\.npz: "),
    predict("cutouts cut off", lambda f: cut(run(f) / "cutouts.npz"), REFUSED, r"cutouts\.npz: damaged"),
    predict("code in the cutouts", pickled_cutouts, REFUSED, r"cutouts\.npz: damaged"),
    export("cut off, exported", lambda f: cut(run(f) / "weights.safetensors"), REFUSED, "damaged"),
    train("result cut off, trained again", lambda f: cut(run(f) / "result.json"), REFUSED, r"result\.json: damaged"),
    report("a result cut off", lambda f: cut(second(f) / "result.json"), TOLERATED, r"report\.html"),
    report("a foreign folder", lambda f: (f / "runs/study/photographs").mkdir(), TOLERATED, r"report\.html"),
    report("every result cut off", lambda f: [cut(p) for p in f.glob("runs/study/*/result.json")], REFUSED,
           r"no run there is done or begun; .*\n.*result\.json cannot be read"),
    report("a copy under another name", lambda f: second(f).rename(second(f).with_name("copy")), TOLERATED, "report"),
    report("a set that is a path", result(lambda data: data | {"set": "../../x"}, second), TOLERATED, r"report\.html"),
    report("no such experiment", lambda f: shutil.rmtree(f / "runs"), REFUSED, "no experiment 'study'"),
    status("a plan cut off", lambda f: cut(f / "runs/study/experiment.json"), REFUSED, r"experiment\.json: damaged"),
    status("a plan that is a list", lambda f: (f / "runs/study/experiment.json").write_text("[]"), REFUSED,
           r"experiment\.json: damaged"),
    status("a foreign line in the ledger", lambda f: (f / "runs/study/.tasks/jobs.jsonl").write_text('{"a": 1}\n'),
           REFUSED, r"jobs\.jsonl: not of this program, or damaged: line 1: unknown key 'a'"),
]  # fmt: skip
PICKLE = pickle.dumps(Code())
