"""The report's section that compares pretexts: their own task, leak meters, accuracy by labels beside a floor."""

import dataclasses

import pytest
import run_folders as folders

from hpc_astrossl import names
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.page import write_report
from hpc_astrossl.report.pretexts.section import pretexts
from hpc_astrossl.specs.run import RunSpec


def turned(**metrics):
    plain = folders.spec("turned", "pretext", flips=False, target="rotation")
    one = {"loss": 1.3, "accuracy": 0.3, "accuracy_error": 0.01, "chance": 0.25, "leak": 5.0, **metrics}
    about = {"kind": "rotation", "switches": plain.pretext, "headline": "accuracy", "chance": 0.25, "last_epoch": {}}
    return plain, {"metrics": {"validation": one, "test": one}, "pretext": about, "class_names": [], "bands": []}


def labelled(scheme, seed, run_id):
    spec = folders.spec("SG", "scratch", seed)
    change = {"scheme": scheme, "weights": None if scheme == "features-random" else f"run:{run_id}", "phases": ()}
    return names.resolved(dataclasses.replace(spec, **change))


@pytest.fixture
def study(tmp_path):
    folder = tmp_path / "study"
    run, content = turned()
    folders.write_run(folder, run, **content)
    folders.write_run(folder, folders.spec("pretext", "pretext"), arrays=True)
    for seed in (0, 1):
        for scheme, accuracy in (("features-random", 0.7), ("features-turned", 0.8), ("finetune-turned", 0.9)):
            folders.write_run(folder, labelled(scheme, seed, run.run_id), arrays=True, test=accuracy + seed / 100)
    return folder


def test_own_task_beside_guessing_and_accuracy_beside_the_floor(study, tmp_path):
    section = pretexts(Desk.of(read_study(study), tmp_path / "out"))
    own, frozen, fine = section.tables
    rows = {row[0].text: row for row in own.rows}
    assert [entry.text for entry in rows["turned"][4:7]] == ["0.3000", "0.2500", "+5.0 σ"]
    assert rows["turned"][1].note == "disc True, mirror False"
    assert rows["turned"][8].value == pytest.approx(90 / 12 / 60)
    assert rows["pretext"][4].note == "mae"
    assert frozen.columns == ("set", "labels", "majority", "random", "turned")
    entry = frozen.rows[0][4]
    assert (entry.value, entry.text.split(" ± ")[0]) == (pytest.approx(0.805), "0.8050")
    assert entry.note.startswith("n = 2, +0.")
    assert fine.columns[-1] == "turned"


def test_a_whole_page_is_written_and_a_study_of_one_pretext_has_no_such_section(study, tmp_path):
    page = write_report(study, tmp_path / "out")
    assert "Pretexts side by side" in page.read_text()
    folder = tmp_path / "plain"
    folders.write_run(folder, folders.spec("pretext", "pretext"))
    assert pretexts(Desk.of(read_study(folder), tmp_path / "plain-out")) is None


def test_the_spec_of_a_run_names_its_kind():
    run, _ = turned()
    assert isinstance(run, RunSpec)
    assert run.pretext == {"disc": True, "mirror": False}
