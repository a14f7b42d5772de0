"""Tests, intervals, calibration and label efficiency against numbers worked out by hand."""

import itertools
import math

import numpy as np
import pytest
from run_folders import spec, write_plan, write_run, write_study
from scipy import stats

from hpc_astrossl.report import summary
from hpc_astrossl.report.accuracy import tables as accuracy
from hpc_astrossl.report.accuracy import words
from hpc_astrossl.report.base import by_class, judged, statistics
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.controls.section import verdict
from hpc_astrossl.report.errors import calibration
from hpc_astrossl.report.low_data import efficiency
from hpc_astrossl.report.low_data.efficiency import labels_for
from hpc_astrossl.report.objects.section import shown_run


def outcome(truth, said, classes=2, seeds=None, ids=None):
    said = np.atleast_2d(said)
    return Outcome(
        object_id=np.array(ids or [f"o{i:03d}" for i in range(len(truth))]),
        truth=np.array(truth),
        said=said,
        sure=np.full(said.shape, 0.8),
        seeds=tuple(seeds or range(len(said))),
        classes=classes,
    )


def test_shares_average_to_the_metrics():
    truth, said = np.array([0, 0, 0, 1, 1, 2]), np.array([0, 0, 1, 1, 0, 2])
    by_hand = {
        "accuracy": 4 / 6,
        "balanced_accuracy": (2 / 3 + 1 / 2 + 1) / 3,
        "macro_f1": (4 / 6 + 2 / 4 + 1) / 3,  # 2 TP / (true + claimed): 2·2/(3+3), 2·1/(2+2), 2·1/(1+1)
    }
    for metric, value in by_hand.items():
        assert statistics.shares(metric, truth, said, 3).mean() == pytest.approx(value)
    # a class that neither occurs nor is claimed takes no part
    assert statistics.shares("macro_f1", truth, said, 5).mean() == pytest.approx(by_hand["macro_f1"])


def test_the_share_of_macro_f1_is_its_slope():
    """Doubling one object changes macro F1 by its share minus the mean, over N: the influence function."""
    truth, said = np.tile([0, 0, 0, 1, 1, 2], 200), np.tile([0, 0, 1, 1, 0, 2], 200)
    before = statistics.shares("macro_f1", truth, said, 3)
    after = statistics.shares("macro_f1", np.append(truth, 1), np.append(said, 0), 3).mean()
    expected = (before[4] - before.mean()) / len(truth)
    assert after - before.mean() == pytest.approx(expected, rel=0.02)


def test_the_standard_error_joins_seeds_and_objects_by_hand():
    values = np.array([[1.0, 0, 0, 1], [1, 1, 0, 1]])
    # over seeds: 1, .5, 0, 1: variance (.140625 + .015625 + .390625 + .140625) / 3 = .229167, over 4 objects
    # over objects: .5, .75: variance .03125, over 2 seeds
    objects, seeds = 0.6875 / 3 / 4, 0.03125 / 2
    error, free = statistics.standard_error(values)
    assert error == pytest.approx(math.sqrt(objects + seeds))
    assert free == pytest.approx((objects + seeds) ** 2 / (objects**2 / 3 + seeds**2 / 1))


def test_a_comparison_by_hand_with_one_seed():
    truth = np.zeros(10, int)
    first, second = outcome(truth, [0] * 9 + [1]), outcome(truth, [0] * 5 + [1] * 5)
    made = statistics.compare(first, second, "accuracy")
    # four objects differ by one: mean .4, variance .24 · 10 / 9, paired t with 9 degrees of freedom
    error = math.sqrt(0.24 * 10 / 9 / 10)
    assert (made.delta, made.error) == pytest.approx((0.4, error))
    assert made.p == pytest.approx(stats.ttest_1samp([1] * 4 + [0] * 6, 0).pvalue)
    assert made.words == "p = 0.037, paired over one seed and 10 objects"


def test_only_common_seeds_and_the_same_objects_are_compared():
    truth = [0, 1, 0, 1]
    first = outcome(truth, [[0, 1, 0, 1], [1, 0, 1, 0]], seeds=(0, 1))
    second = outcome(truth, [[0, 1, 0, 1]], seeds=(0,))
    assert statistics.compare(first, second, "accuracy").delta == 0
    assert statistics.compare(first, second, "accuracy").p == 1
    assert statistics.compare(first, outcome(truth, [[0] * 4], seeds=(7,)), "accuracy") is None
    assert statistics.compare(first, outcome(truth, [[0] * 4], ids=list("abcd")), "accuracy") is None


def test_a_rare_difference_of_equal_tests_is_found_at_its_level():
    """Two schemes that are equally good: p is below 0.05 about as often as it should be, not more."""
    source, low = np.random.default_rng(0), 0
    for _ in range(300):
        truth = np.zeros(200, int)
        hard = source.random(200)
        first, second = (outcome(truth, (source.random((3, 200)) < 0.3 * hard).astype(int)) for _ in range(2))
        low += statistics.compare(first, second, "accuracy").p < 0.05
    assert low / 300 < 0.08


def test_holm_by_hand():
    assert statistics.holm({"a": 0.04, "b": 0.01, "c": 0.03}) == pytest.approx({"a": 0.06, "b": 0.03, "c": 0.06})


def test_the_leader_is_best_only_where_the_test_says_so():
    truth = np.arange(400) % 2
    right, half, good = truth.copy(), np.zeros(400, int), truth.copy()
    good[:2] = 1 - good[:2]
    found = {name: outcome(truth, [said, said]) for name, said in (("a", right), ("b", good), ("c", half))}
    made = statistics.verdict(found, "accuracy")
    assert (made.leader, made.level_with, made.behind) == ("a", ("b",), ("c",))
    assert [made.mark(name) for name in "abc"] == ["level", "level", ""]
    alone = statistics.verdict({"a": found["a"], "c": found["c"]}, "accuracy")
    assert [alone.mark(name) for name in "ac"] == ["best", ""]
    nobody = statistics.verdict({"a": found["a"], "b": found["b"]}, "accuracy")
    assert [nobody.mark(name) for name in "ab"] == ["", ""]
    assert statistics.verdict({"a": found["a"]}, "accuracy") is None


def test_the_interval_of_accuracy_is_the_binomial_one():
    said = [0] * 900 + [1] * 100
    low, high = statistics.interval(outcome(np.zeros(1000, int), said), "accuracy")
    expected = stats.binom(1000, 0.9).ppf([0.025, 0.975]) / 1000
    assert (low, high) == pytest.approx(expected, abs=0.002)


@pytest.mark.parametrize(("right", "total"), [(140, 140), (0, 140), (139, 140), (70, 140), (1, 1)])
def test_intervals_at_the_bounds_are_never_empty(right, total):
    """Against scipy's interval of the same name."""
    low, high = statistics.wilson(right / total, total)
    theirs = stats.binomtest(right, total).proportion_ci(method="wilson")
    assert (low, high) == pytest.approx((theirs.low, theirs.high), abs=1e-12)
    assert low < high


def test_an_accuracy_of_one_has_an_error():
    """Two seeds, 140 objects, all right: the error is that of Wilson's interval, not zero."""
    truth = np.arange(140) % 2
    low = stats.binomtest(140, 140).proportion_ci(method="wilson").low
    made = statistics.accuracy_error(outcome(truth, [truth, truth]))
    assert made == pytest.approx((1 - low) / 2 / stats.norm.ppf(0.975))
    assert statistics.interval(outcome(truth, [truth, truth]), "accuracy") == pytest.approx((low, 1.0))
    below = statistics.interval(outcome(truth, [truth, truth]), "balanced_accuracy")
    alone = stats.binomtest(70, 70).proportion_ci(method="wilson").low
    assert below == pytest.approx((1 - math.hypot(1 - alone, 1 - alone) / 2, 1.0))


def test_one_object_tells_nobody_apart():
    made = statistics.compare(outcome([0], [[0]]), outcome([0], [[1]]), "accuracy")
    assert (made.delta, made.p) == (1.0, 1.0)
    certain = statistics.compare(outcome([0] * 9, [[0] * 9]), outcome([0] * 9, [[1] * 9]), "accuracy")
    assert certain.p == pytest.approx(2 / 2**9)


def test_completeness_and_purity_by_hand():
    # 4 stars, 3 galaxies, 1 quasar; two seeds. Named star: 3 + 5, of which right 3 + 4; quasar never.
    truth = [0, 0, 0, 0, 1, 1, 1, 2]
    said = outcome(truth, [[0, 0, 0, 1, 1, 1, 1, 1], [0, 0, 0, 0, 1, 1, 0, 1]], classes=3)
    star, galaxy, quasar = by_class.measures(said)
    assert (star.completeness.share, star.purity.share) == pytest.approx((7 / 8, 7 / 8))
    assert (galaxy.completeness.share, galaxy.purity.share) == pytest.approx((5 / 6, 5 / 8))
    assert galaxy.f1.share == pytest.approx(2 * 5 / (6 + 8))
    assert (quasar.completeness.share, quasar.purity, quasar.f1.share, quasar.named) == (0.0, None, 0.0, 0.0)
    assert (star.completeness.low, star.completeness.high) == pytest.approx(statistics.wilson(7 / 8, 4))
    assert by_class.never_named(said) == [2]


def write_uneven(folder, **data):
    """A set of 40 stars and 4 quasars a split: one scheme names stars alone, one is right 2 times of 4."""
    for scheme, found in (("scratch", 0), ("features-imagenet", 2)):
        run = spec("SQ", scheme, **data)
        path = write_run(folder, run, class_names=["star", "quasar"], accuracy=40 / 44)
        truth = np.repeat([0, 1], [40, 4]).astype("int16")
        said = truth.copy()
        said[40 + found :] = 0
        if found:
            said[0] = 1
        output = np.where(said[:, None] == [0, 1], 0.9, 0.1).astype("float32")
        ids = np.array([f"o{place:02d}" for place in range(88)])
        np.savez(path / "predictions.npz", object_id=ids, split=np.repeat(["validation", "test"], 44),
                 truth=np.tile(truth, 2), output=np.tile(output, (2, 1)))  # fmt: skip
    return Desk.of(read_study(folder), folder)


def test_one_object_is_one():
    assert [words._objects(count) for count in (1, 4, 1200)] == [
        "1 test object",
        "4 test objects",
        "1,200 test objects",
    ]


def test_a_class_that_is_never_named_is_said_first(tmp_path):
    desk = write_uneven(tmp_path)
    said = summary.sentences(desk, [])
    assert said[1] == "SQ: scratch never names quasar (4 test objects) in its only run."
    assert said[2].startswith("SQ: ")
    assert "test balanced accuracy" in said[2]
    assert any("data.class_weights: inverse" in one for one in said)
    table = accuracy.table_two(desk)
    assert table.rows[0][1].text == "test balanced accuracy"
    row = dict(zip(table.columns, table.rows[2], strict=True))
    assert row["measure"].text == "test accuracy"
    assert row["scratch"].note.startswith("never names quasar\n")
    assert row["scratch"].mark == "bad"


def test_weights_that_are_set_are_not_suggested(tmp_path):
    desk = write_uneven(tmp_path, class_weights="inverse")
    assert not any("class_weights" in one for one in summary.sentences(desk, []))


def test_the_leading_scheme_is_one_on_the_whole_page(tmp_path):
    desk = write_uneven(tmp_path)
    leader = judged.ranking(desk, "SQ").schemes[0][0]
    assert f"SQ: {leader} has the highest" in words.best(desk, "SQ")
    assert shown_run(desk, "SQ").scheme == leader


def test_calibration_by_hand():
    right = np.array([True, True, False, True])
    sure = np.array([0.95, 0.95, 0.62, 0.64])
    made = calibration.reliability(right, sure)
    # bins of a fifteenth: .95 in the last but none, .62 and .64 together; |1 − .95| · 2/4 + |.5 − .63| · 2/4
    assert made.count.tolist() == [2, 2]
    assert made.error == pytest.approx(0.05 / 2 + 0.13 / 2)
    assert calibration.reliability(np.array([True]), np.array([1.0])).error == 0


def test_confusion_by_hand():
    made = by_class.confusion(outcome([0, 0, 1], [[0, 1, 1], [0, 0, 0]]))
    assert made.tolist() == [[3, 1], [1, 1]]


@pytest.mark.parametrize(
    ("accuracy_", "labels"),
    [(0.7, 100), (0.75, math.sqrt(100 * 400)), (0.8, 400), (0.9, math.inf), (0.6, 0.0), (0.79, 100 * 4**0.9)],
)
def test_labels_for_an_accuracy_by_hand(accuracy_, labels):
    assert labels_for([(100, 0.7), (400, 0.8), (1600, 0.78)], accuracy_) == pytest.approx(labels)


@pytest.fixture
def study(tmp_path):
    write_study(tmp_path / "study", sets=("SG",), seeds=(0, 1, 2))
    return Desk.of(read_study(tmp_path / "study"), tmp_path)


def test_label_efficiency_of_a_study(tmp_path):
    for scheme, accuracies in (("features-magnitudes", (0.7, 0.9)), ("features-imagenet", (0.6, 0.8))):
        for (size, value), (seed, shift) in itertools.product(
            zip((100, None), accuracies, strict=True), enumerate((-0.01, 0, 0.01))
        ):
            write_run(tmp_path, spec("SG", scheme, seed, size), accuracy=value, test=value + shift)
    study = Desk.of(read_study(tmp_path), tmp_path)
    found = {(one.scheme, one.labels, one.other): one for one in efficiency.equals(study)}
    one = found["features-magnitudes", 100, "features-imagenet"]
    curve = efficiency.curve_of(study.classes, "SG", "features-imagenet", "test")
    assert [labels for labels, _, _ in curve] == [100, 800]
    assert one.needs == pytest.approx(100 * 8**0.5)
    assert one.low < one.needs < one.high
    assert found["features-magnitudes", 800, "features-imagenet"].words == "more than 800"
    said = efficiency.sentences_of(list(found.values()))
    assert said == ["SG: features-magnitudes with 100 labels equals features-imagenet with 283"]


def test_an_accuracy_without_skill_is_worth_no_label(tmp_path):
    """With 100 labels the magnitudes name the commonest class: that this equals ImageNet with 200 says nothing."""
    for scheme, accuracies in (("features-magnitudes", (0.55, 0.9)), ("features-imagenet", (0.5, 0.8))):
        for size, value in zip((100, None), accuracies, strict=True):
            write_run(tmp_path, spec("SG", scheme, 0, size), accuracy=value, test=value)
    found = efficiency.equals(Desk.of(read_study(tmp_path), tmp_path))
    assert [(one.scheme, one.accuracy) for one in found] == [("features-magnitudes", 0.9)]


def test_table_two_marks_and_intervals_come_from_the_tests(study):
    table = accuracy.table_two(study)
    (found,) = [one for one in table.rows if one[1].text == "test accuracy"]
    row = dict(zip(table.columns, found, strict=True))
    made = statistics.verdict(study.row("SG", None, "test"), "accuracy")
    assert [row[scheme].mark for scheme in study.row("SG", None, "test")] == [
        made.mark(scheme) for scheme in study.row("SG", None, "test")
    ]
    low, high = statistics.interval(study.row("SG", None, "test")["scratch"], "accuracy")
    assert row["scratch"].note == f"[{low:.4f}, {high:.4f}]"


def test_the_words_for_a_gap_name_the_test(study):
    ours, theirs = (study.classes["SG", f"features-{name}", None] for name in ("magnitudes", "imagenet"))
    said = words.gap(study, ours, theirs, "ImageNet")
    assert "paired over 3 seeds and 60 objects)" in said
    (theirs.runs[0].folder / "predictions.npz").unlink()
    fresh = Desk.of(study.study, study.out)
    assert "paired over 2 seeds and 60 objects)" in words.gap(fresh, ours, theirs, "ImageNet")
    assert "predictions.npz is missing" in fresh.problems[0].reason


def test_runs_on_other_objects_are_left_out_and_named(study):
    run = study.classes["SG", "scratch", None].runs[2]
    with np.load(run.folder / "predictions.npz") as archive:
        arrays = dict(archive)
    np.savez(run.folder / "predictions.npz", **{key: value[5:] for key, value in arrays.items()})
    assert study.said(study.classes["SG", "scratch", None], "validation").seeds == (0, 1)
    assert study.said(study.classes["SG", "scratch", None], "test").seeds == (0, 1, 2)
    assert "other objects or labels than the first seed's" in study.problems[0].reason


def test_controls_stand_apart_and_are_judged(tmp_path):
    folder = tmp_path / "study"
    plain, control = spec("SG", "scratch"), spec("SG-background", "scratch", control="masked-centre")
    write_run(folder, plain, arrays=True)
    store = {"path": "stores/SG.zarr", "name": "SG", "survey": "simulated", "release": "1", "counts": {}}
    write_run(folder, control, arrays=True, accuracy=0.95, control="masked-centre", store=store)
    write_plan(folder, [plain, control])
    desk = Desk.of(read_study(folder), tmp_path)
    assert [key[0] for key in desk.classes] == ["SG"]
    assert [key[0] for key in desk.controls] == ["SG-background"]
    said = summary.controls(desk)
    assert len(said) == 1
    assert said[0].startswith("Control masked-centre on SG-background with scratch is 0.")


def test_the_words_of_a_control():
    truth = np.arange(200) % 2
    always, right = outcome(truth, np.zeros(200, int)), outcome(truth, truth)
    words, bad = verdict("shuffled-labels", always)
    assert "passed" in words
    assert not bad
    words, bad = verdict("masked-centre", right)
    assert "what lies outside the centre tells classes apart" in words
    assert bad
    assert verdict("masked-centre", None) == ("no predictions to test it by", False)


def test_a_few_shuffles_above_the_majority_are_chance_and_five_are_a_leak():
    truth = np.arange(200) % 2
    most = np.where(np.arange(200) < 140, truth, 1 - truth)  # 0.7 of them right
    words, bad = verdict("shuffled-labels", outcome(truth, [most] * 3))
    assert "in 3 of 3 seeds, as shuffled labels may lie by chance along the true ones; 5 seeds would tell" in words
    assert not bad
    words, bad = verdict("shuffled-labels", outcome(truth, [most] * 5))
    assert "test labels reach the network" in words
    assert bad
    words, bad = verdict("shuffled-labels", outcome(truth, [1 - most] + [truth] * 9))
    assert "in 9 of 10 seeds, as shuffled labels may lie by chance along the true ones" in words
    assert not bad
