"""Every number of a report, made once more by tests/recompute.py, stands in page, CSV, LaTeX and Markdown."""

import json

import numpy as np
import pytest
import recompute
from run_folders import spec, write_run, write_study

from hpc_astrossl.report.page import write_report


def agree(folder):
    """result.json of every run tells the measures of the predictions beside it."""
    for run in recompute.read(folder):
        if run.result["target"] == "classes":
            told = {
                split: {
                    name.replace(" ", "_").lower(): run.measure(split, name)
                    for name in ("accuracy", "balanced accuracy", "macro F1")
                }
                for split in ("validation", "test")
            }
            shares = {split: float(np.bincount(truth := run.of(split, "truth")).max() / len(truth)) for split in told}
            change = {"metrics": {split: {"loss": 0.3, **one} for split, one in told.items()}, "majority_share": shares}
        else:
            errors = {
                split: np.abs(run.of(split, "output").astype(float) - run.of(split, "truth"))
                for split in ("validation", "test")
            }
            overall = {split: float(np.mean([np.nanmean(line) for line in error])) for split, error in errors.items()}
            change = {"metrics": {split: {"loss": 0.1, "mae": one / 30, "mae_magnitudes": one, "mae_by_band": {}}
                                  for split, one in overall.items()}}  # fmt: skip
        (run.folder / "result.json").write_text(json.dumps(run.result | change))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A study whose result.json tells the measures of the predictions beside it."""
    work = tmp_path_factory.mktemp("work")
    write_study(work / "study", sets=("SG", "EF-4"), schemes=("scratch", "features-imagenet", "features-magnitudes"))
    plain = next(run.result for run in recompute.read(work / "study") if run.set == "SG")
    for seed in (0, 1):
        run = spec("SG-masked", "features-magnitudes", seed)
        write_run(work / "study", run, arrays=True, control="masked-centre", store=plain["store"])
    agree(work / "study")
    write_report(work / "study", work / "report")
    return work


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Five seeds of which some are missing, one class with nearly all objects, one with none, one that is never named,
    a set of one test object, a run that is always right, and names that LaTeX and HTML would stumble over."""
    work = tmp_path_factory.mktemp("uneven")
    folder, names = work / "study", ["a & b", "50%_x", "<i>", "no one", "ζ #1"]
    for set_, objects in (("my_set.co-1", 97), ("one", 1)):
        for scheme in ("scratch", "features-imagenet", "finetune-imagenet"):
            for seed in range(5):
                if (scheme, seed) not in (("scratch", 1), ("scratch", 4), ("finetune-imagenet", 0)):
                    path = write_run(folder, spec(set_, scheme, seed), arrays=True, class_names=names)
                    _predict(path / "predictions.npz", (scheme, seed, objects))
    agree(folder)
    write_report(folder, work / "report")
    return work


def _predict(path, what):
    scheme, seed, objects = what
    truth = np.random.default_rng(9).choice(5, 2 * objects, p=(0.86, 0.06, 0.05, 0, 0.03)).astype("int16")
    said = np.random.default_rng([seed, len(scheme)])
    chosen = np.where(said.random(2 * objects) < 0.8, truth, said.choice(5, 2 * objects))
    chosen = truth if scheme == "finetune-imagenet" else np.where(chosen == 2, 0, chosen)
    output = said.dirichlet(np.ones(5), 2 * objects) * 0.45
    output[np.arange(2 * objects), chosen] += 0.55
    ids = np.array([f"o{row:04d}" for row in range(2 * objects)])
    split = np.repeat(["validation", "test"], objects)
    np.savez(path, object_id=ids, split=split, truth=truth, output=output.astype("float32"))


def test_every_number_is_the_one_recomputed(study):
    assert recompute.check(study / "study", study / "report") > 200


def test_so_it_is_with_uneven_classes_missing_seeds_and_hostile_names(uneven):
    assert recompute.check(uneven / "study", uneven / "report") > 150
    page = (uneven / "report/report.html").read_text()
    assert "&lt;i&gt;" in page
    assert "never" in (uneven / "report/tables/classes_my_set.co-1.md").read_text()


@pytest.mark.parametrize("name", ["report.html", "tables/accuracy.csv", "tables/classes_SG.tex"])
def test_a_digit_that_is_wrong_is_found(study, tmp_path, name):
    """The check is no check unless it can fail."""
    copy = tmp_path / "report"
    copy.mkdir()
    for path in (study / "report").rglob("*"):
        if path.is_file() and ".kept" not in path.parts:
            (copy / path.relative_to(study / "report")).parent.mkdir(parents=True, exist_ok=True)
            (copy / path.relative_to(study / "report")).write_bytes(path.read_bytes())
    text = (copy / name).read_text()
    place = text.index("0.", text.index("table-accuracy") if name == "report.html" else 0)
    (copy / name).write_text(text[: place + 2] + str((int(text[place + 2]) + 1) % 10) + text[place + 3 :])
    with pytest.raises(AssertionError):
        recompute.check(study / "study", copy)
