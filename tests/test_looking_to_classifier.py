"""From a survey as the demo simulates it to a classifier, as a person would: look, label, classify, look again.

ImageNet's convolutions ship with the package and are frozen, so that nothing but a small head is trained here.
"""

from pathlib import Path

import numpy as np
import pytest
from browser import CHROMIUM, browser
from test_explore_browser import frame, lasso, middle, rows_of, said, saved, shown, wait

from hpc_astrossl.cli import main
from hpc_astrossl.store import open_store

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium"),
]
ROOT = Path(__file__).parent.parent
JOBS = """\
experiment: looking
preprocess:
  - {recipe: preprocess/simulated.yaml, source: survey, out: stores/SG.zarr}
sets: {SG: {store: stores/SG.zarr}}
schemes: [features-imagenet]
seeds: [0]
sizes: [64]
overrides: {all: {model: {hidden: 32}, phases: [{trains: head, optimizer: adam, learning_rate: 1e-3, epochs: 2}]}}
resources: {all: {cpus: 1, gpus: 0, memory_gb: 2, minutes: 30}}
"""


@pytest.fixture(scope="module")
def work(tmp_path_factory):
    """The embedding of a simulated SG store by frozen ImageNet convolutions, and its page."""
    work = tmp_path_factory.mktemp("looking")
    (work / "jobs.yaml").write_text(JOBS)
    (work / "preprocess").symlink_to(ROOT / "preprocess")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        patch.setenv("ASTROSSL_CACHE", str(work / "cache"))
        assert main(["simulate", "survey", "--fields", "2"]) == 0
        assert main(["submit", "jobs.yaml", "--cluster", "local"]) == 0
        (run,) = Path("runs/looking").glob("SG_features-imagenet_*")
        assert main(["embed", str(run), "stores/SG.zarr", "--out", "SG.zarr"]) == 0
        assert main(["explore", "SG.zarr", "--out", "out"]) == 0
    return work


def test_sixty_labels_by_keyboard_make_a_classifier_of_a_simulated_survey(work, tmp_path):
    store = open_store(work / "stores/SG.zarr")
    names = np.array(store.info.class_names)
    truth = dict(zip(store.table["object_id"].tolist(), names[store.table["label"]].tolist(), strict=True))
    with browser(tmp_path / "profile") as page:
        shown(page, work / "out")
        keys = {name: str(place + 1) for place, name in enumerate(page.evaluate("data.classes"))}
        for label in (0, 1):  # a crowd of each class, told apart object by object
            lasso(page, middle(page, np.flatnonzero(store.table["label"] == label)), 20)
            assert abs(int(said(page).split()[0]) - 20) <= 3  # a lasso has corners, and crowds are close
            for object_id in page.evaluate("sheet.rows.map(row => data.ids[row])"):
                page.press(keys[truth[object_id]])
        page.evaluate("document.getElementById('sheets').value = 'drawn at random'")
        page.evaluate("document.getElementById('sheets').dispatchEvent(new Event('change'))")
        for object_id in page.evaluate("sheet.rows.map(row => data.ids[row])")[:24]:
            page.press(keys[truth[object_id]])
        frame(page)
        given = rows_of(saved(page, tmp_path))
        assert 45 <= len(given) <= 64  # the random ones may lie in the crowds
        assert all(truth[line["object_id"]] == line["class"] for line in given)

        out = tmp_path / "classes.csv"
        words = ["classify", str(work / "SG.zarr"), "--labels", str(tmp_path / "labels.csv"), "--out", str(out)]
        assert main(words) == 0
        hidden = [line for line in rows_of(out) if not line["label"]]
        assert len(hidden) == len(truth) - len(given)
        assert np.mean([truth[line["object_id"]] == line["class"] for line in hidden]) > 0.9

        again = ["explore", str(work / "SG.zarr"), "--out", str(tmp_path / "again"), "--table", str(out)]
        assert main([*again, "--next", str(tmp_path / "next.csv")]) == 0
        shown(page, tmp_path / "again")
        assert page.evaluate("document.getElementById('sheets').value") == "next: what to label"
        assert set(page.evaluate("data.columns.find(c => c.name === 'class').names")) == set(names)
        wait(page, "[...document.querySelectorAll('#sheet .thumb')].every(e => e.style.backgroundImage)")
        assert page.faults == []
