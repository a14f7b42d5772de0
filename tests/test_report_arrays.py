"""Numbers and choices that come from the arrays of a run folder, against hand-computed ones."""

import dataclasses

import numpy as np
import pytest
from run_folders import spec, write_run

from hpc_astrossl import provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base import arrays
from hpc_astrossl.report.base.arrays import Cutouts, Features, Predictions
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.curves import section as curves
from hpc_astrossl.report.features import projection
from hpc_astrossl.report.features.section import features
from hpc_astrossl.report.objects import examples as objects
from hpc_astrossl.report.pretext import tables as pretext

NAMES = ("star", "galaxy")


@pytest.fixture
def run(tmp_path):
    write_run(tmp_path, spec("SG", "features-magnitudes"), arrays=True)
    return read_study(tmp_path).runs[0]


def predictions(truth, output):
    count = len(truth)
    ids = np.array([f"o{row}" for row in range(count)])
    return Predictions(
        object_id=ids, split=np.repeat("validation", count), truth=np.array(truth), output=np.array(output)
    )


def test_arrays_are_read_as_they_were_written(run):
    found = arrays.predictions(run)
    assert found.output.shape == (120, 2)
    assert len(found.of("test").object_id) == 60
    assert arrays.features(run).features.shape == (60, 16)
    assert arrays.cutouts(run).images.shape == (24, 32, 32, 3)


@pytest.mark.parametrize(
    ("name", "read"),
    [("predictions.npz", arrays.predictions), ("features.npz", arrays.features), ("cutouts.npz", arrays.cutouts)],
)
def test_missing_and_damaged_arrays_are_named(run, name, read):
    content = (run.folder / name).read_bytes()
    (run.folder / name).write_bytes(content[: len(content) // 2])
    with pytest.raises(InputError, match=f"{name} cannot be read"):
        read(run)
    (run.folder / name).unlink()
    with pytest.raises(InputError, match=f"{name} is missing"):
        read(run)


@pytest.mark.parametrize(
    ("name", "read"),
    [("predictions.npz", arrays.predictions), ("features.npz", arrays.features), ("cutouts.npz", arrays.cutouts)],
)
def test_arrays_of_another_run_are_not_taken(run, tmp_path, name, read):
    """They are sound, and of the same shapes."""
    noted = dataclasses.replace(run, files={name: provenance.sha256(run.folder / name)})
    read(noted)
    other = write_run(tmp_path, spec("SG", "features-magnitudes", seed=1), arrays=True)
    content = (other / name).read_bytes()
    (run.folder / name).write_bytes(content + bytes(content == (run.folder / name).read_bytes()))
    with pytest.raises(InputError, match=f"{name} cannot be read: it is not the file that its run wrote"):
        read(noted)


def test_labels_beyond_the_classes_are_refused(run):
    found = arrays.predictions(run)
    changed = {**vars(found), "truth": found.truth + 5}
    np.savez(run.folder / "predictions.npz", **{key: value for key, value in changed.items() if value is not None})
    with pytest.raises(InputError, match="truth is not one label an object"):
        arrays.predictions(run)


def test_objects_without_a_label_are_no_features(run):
    ids = np.array(["a", "b", "c"])
    np.savez(run.folder / "features.npz", object_id=ids, label=np.array([0, -1, 1]), features=np.eye(3))
    assert arrays.features(run).label.tolist() == [0, 1]


def test_mistakes_come_first_the_surest_first():
    found = predictions([0, 0, 1, 1], [[0.9, 0.1], [0.2, 0.8], [0.95, 0.05], [0.4, 0.6]])
    images = np.zeros((5, 4, 4, 3), "uint8")
    cutouts = Cutouts(object_id=np.array(["o0", "o1", "o2", "o3", "unknown"]), images=images)
    shown = objects.examples(cutouts, found, NAMES)
    assert [one.object_id for one in shown] == ["o2", "o1", "o0", "o3"]
    assert (shown[0].truth, shown[0].predicted, shown[0].probability) == ("galaxy", "star", 0.95)
    assert [one.wrong for one in shown] == [True, True, False, False]


def test_the_table_of_mistakes_by_hand():
    found = predictions([0, 0, 1], [[0.9, 0.1], [0.2, 0.8], [0.95, 0.05]])
    table = objects.mistakes("SG", found, NAMES)
    assert [row[0].text for row in table.rows] == ["o2", "o1"]
    assert [row[4].text for row in table.rows] == ["0.950", "0.800"]
    assert table.caption.startswith("2 of 3 ")


def test_guessing_the_median_by_hand():
    truth = np.array([[14.0, 20.0], [16.0, 20.0], [21.0, np.nan]], "float32")
    guess = pretext.median_guess(predictions(truth, truth), ("u", "z"))
    # u: median 16, errors 2, 0, 5; z: median 20, errors 0, 0, unknown
    assert guess.by_band == pytest.approx({"u": 7 / 3, "z": 0.0})
    # by object, as the run's own error: (2 + 0) / 2, 0, 5
    assert guess.overall == pytest.approx((1 + 0 + 5) / 3)


def test_a_band_without_any_magnitude_has_no_guess():
    truth = np.array([[14.0, np.nan]], "float32")
    assert pretext.median_guess(predictions(truth, truth), ("u", "z")) is None


def test_neighbours_and_silhouette_by_hand():
    values = np.array([[0.0], [1.0], [10.0], [11.0]])
    label = np.array([0, 0, 1, 1])
    assert projection.neighbour_accuracy(values, label, neighbours=1) == 1.0
    assert projection.neighbour_accuracy(values, np.array([0, 1, 0, 1]), neighbours=1) == 0.0
    rng = np.random.default_rng(0)
    five = np.repeat(np.arange(3), 5)  # ten neighbours of one object would be six of other classes, and these the most
    assert projection.neighbour_accuracy(20 * five[:, None] + rng.normal(size=(15, 2)), five) == 1.0
    # own class 1 away, the other 10.5 on average for the outer and 9.5 for the inner objects
    assert projection.silhouette(values, label) == pytest.approx(1 - (1 / 10.5 + 1 / 9.5) / 2)
    assert projection.silhouette(values, np.zeros(4, int)) is None


def test_projection_is_seeded_and_its_perplexity_fits_the_objects(run):
    found = arrays.features(run)
    first, again = projection.project(found), projection.project(found)
    assert first.points.shape == (60, 2)
    assert first.method == "t-SNE (perplexity 20)"  # (60 - 1) / 3
    np.testing.assert_array_equal(first.points, again.points)


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning")  # of numba and umap themselves
def test_umap_is_seeded_and_leaves_the_scores_alone(run):
    pytest.importorskip("umap", reason="umap-learn is not installed")
    found = arrays.features(run)
    first, again = projection.project(found, "umap"), projection.project(found, "umap")
    assert first.method == "UMAP (15 neighbours)"
    np.testing.assert_array_equal(first.points, again.points)
    assert first.silhouette == projection.project(found).silhouette


@pytest.mark.parametrize(
    ("count", "words"),
    [(5, "a projection needs at least 12 labelled objects, and it has 5"), (20, "every object has the same features")],
)
def test_features_that_cannot_be_projected_say_so(count, words):
    found = Features(label=np.zeros(count, int), features=np.ones((count, 3)))
    with pytest.raises(InputError, match=words):
        projection.project(found)


def test_few_objects_are_a_note_and_no_problem(run, tmp_path, monkeypatch):
    found = Features(label=np.zeros(5, int), features=np.ones((5, 3)))
    monkeypatch.setattr(arrays, "features", lambda _: found)
    desk = Desk.of(read_study(tmp_path), tmp_path)
    said = features(desk)
    assert not said.drawings
    assert said.notes == [
        "features-magnitudes on SG is not shown: a projection needs at least 12 labelled validation objects, and it "
        "has 5."
    ]
    assert not desk.problems


def test_curves_of_another_run_are_not_taken(run, tmp_path):
    noted = dataclasses.replace(run, files={"metrics.jsonl": provenance.sha256(run.folder / "metrics.jsonl")})
    assert curves.metrics(noted) == curves.metrics(run)
    other = write_run(tmp_path, spec("SG", "features-magnitudes", seed=1), epochs=3)
    (run.folder / "metrics.jsonl").write_bytes((other / "metrics.jsonl").read_bytes())
    with pytest.raises(InputError, match=r"metrics\.jsonl cannot be read: .*it is not the file that its run wrote"):
        curves.metrics(noted)
