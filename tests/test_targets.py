"""Targets: what fits a store, losses, metrics against scikit-learn and numbers by hand, the saturating output."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from sklearn import metrics as sk
from training_toys import make_store

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import StoreInfo, open_store
from hpc_astrossl.targets.classes import Classes
from hpc_astrossl.targets.magnitudes import SCALE, Magnitudes, saturate
from hpc_astrossl.targets.measured import RANGES, Measured, flux_unit, measure


def info(**changes) -> StoreInfo:
    plain = {"name": "toy", "survey": "", "release": "", "bands": ("g", "r"), "channels": ("a",), "recipe": {},
             "class_names": ("a", "b", "c"), "pixel_scale": None, "counts": {}}  # fmt: skip
    return StoreInfo(**plain | changes)


def test_class_metrics_are_scikit_learns():
    source = np.random.default_rng(0)
    truth = source.integers(0, 3, 200).astype(np.int16)
    answer = source.dirichlet(np.ones(4), 200).astype(np.float32)  # class 3 is told but never true
    target = Classes(info(class_names=("a", "b", "c", "d")))
    found = target.metrics(answer, truth, np.ones(200, dtype=np.float32))
    told = answer.argmax(axis=1)
    recalls = sk.recall_score(truth, told, labels=[0, 1, 2], average=None)
    assert found == pytest.approx(
        {
            "loss": 1.0,
            "accuracy": sk.accuracy_score(truth, told),
            "balanced_accuracy": recalls.mean(),
            "macro_f1": sk.f1_score(truth, told, average="macro"),
        }
    )


def test_cross_entropy_is_that_of_the_probabilities():
    target, raw = Classes(info()), torch.tensor([[2.0, 0.0, -1.0], [0.0, 5.0, 0.0]])
    truth = torch.tensor([0, 2], dtype=torch.int16)
    expected = -torch.log(target.answer(raw)[[0, 1], [0, 2]])
    assert torch.allclose(target.losses(raw, truth), expected)


def test_majority_share_and_collapse():
    target = Classes(info())
    truths = {"validation": np.array([0, 1, 1, 1]), "test": np.array([2, 0])}
    same = {"validation": np.eye(3)[[1, 1, 1, 1]], "test": np.eye(3)[[1, 1]]}
    assert target.shares(same, truths) == {"majority_share": {"validation": 0.75, "test": 0.5}, "collapsed": True}
    same["test"] = np.eye(3)[[1, 0]]
    assert target.shares(same, truths)["collapsed"] is False


def test_a_store_without_classes_or_bands_does_not_fit():
    with pytest.raises(InputError, match="target classes needs two classes or more, the store names none"):
        Classes(info(class_names=()))
    with pytest.raises(InputError, match="target magnitudes needs magnitudes, the store has none"):
        Magnitudes(info(bands=()))


def test_unlabelled_objects_and_objects_without_magnitudes_are_not_used(tmp_path):
    table = dict(open_store(make_store(tmp_path / "toy")).table)
    table["label"] = np.array([0, -1, 1])
    table["magnitudes"] = np.array([[np.nan, np.nan], [20, np.nan], [21, 22]], dtype=np.float32)
    assert Classes(info()).usable(table).tolist() == [True, False, True]
    assert Magnitudes(info()).usable(table).tolist() == [False, True, True]


def test_magnitude_metrics_by_hand_leave_out_what_is_unknown():
    target = Magnitudes(info())
    truth = np.array([[20, 21], [22, np.nan]], dtype=np.float32)
    answer = np.array([[21, 24], [19, 3]], dtype=np.float32)
    raw = torch.from_numpy(answer / SCALE)
    losses = target.losses(raw, torch.from_numpy(truth)).numpy()
    assert losses * SCALE == pytest.approx([2, 3], rel=1e-5)  # (1 + 3) / 2, and 3 alone
    found = target.metrics(target.answer(raw).numpy(), truth, losses)
    assert found["mae_magnitudes"] == pytest.approx(2.5, rel=1e-5)
    assert found["mae"] == pytest.approx(2.5 / 30, rel=1e-5)
    assert found["loss"] == pytest.approx(found["mae"], rel=1e-5)
    assert found["mae_by_band"] == pytest.approx({"g": 2.0, "r": 3.0}, rel=1e-5)


def test_a_band_that_is_never_known_has_no_error():
    target = Magnitudes(info())
    truth = np.array([[20, np.nan]], dtype=np.float32)
    found = target.metrics(np.array([[21, 5]], dtype=np.float32), truth, np.ones(1))
    assert found["mae_by_band"] == {"g": 1.0, "r": None}
    assert target.first_output([truth]).tolist() == pytest.approx([20 / 30, 0.5])


def test_an_impossible_magnitude_is_refused_by_object_and_band():
    table = {"magnitudes": np.array([[20, 99]], dtype=np.float32), "object_id": np.array(["A7"])}
    with pytest.raises(InputError, match="object A7 has magnitude 99 in band r; 0 to 30 can be predicted"):
        Magnitudes(info()).truth(table)


@pytest.mark.parametrize("start", [-3.0, 4.0])
def test_an_output_in_the_dead_zone_finds_back(start):
    """A plain clamp has no gradient out there and stays for ever; ours reaches the truth."""
    truth = torch.tensor([[18.0, 21.0]])
    ends = {}
    for name, clamp in {"ours": saturate, "plain": lambda raw: raw.clamp(0, 1)}.items():
        raw = torch.full((1, 2), start, requires_grad=True)
        for _ in range(500):
            (clamp(raw) - truth / SCALE).abs().sum().backward()
            with torch.no_grad():
                raw -= 0.01 * raw.grad
            raw.grad = None
        ends[name] = raw.detach()
    assert torch.allclose(ends["ours"], truth / SCALE, atol=0.011)
    assert torch.equal(ends["plain"], torch.full((1, 2), start))


def test_the_output_saturates_at_0_and_1():
    raw = torch.tensor([-1.0, 0.0, 0.4, 1.0, 7.0])
    assert saturate(raw).tolist() == pytest.approx([0, 0, 0.4, 1, 1])


def test_bands_can_be_chosen_in_any_order_and_incomplete_objects_dropped():
    table = {"magnitudes": np.array([[20, np.nan], [21, 22]], dtype=np.float32), "object_id": np.array(["a", "b"])}
    target = Magnitudes(info(), DataSpec(store="s", bands=("r", "g"), missing="drop"))
    assert (target.bands, target.outputs, target.usable(table).tolist()) == (("r", "g"), 2, [False, True])
    assert target.truth(table)[1].tolist() == [22, 21]
    only = Magnitudes(info(), DataSpec(store="s", bands=("g",)))
    assert (only.usable(table).tolist(), only.truth(table).tolist()) == ([True, True], [[20], [21]])
    with pytest.raises(InputError, match=r"unknown band in data.bands of store toy 'z'; allowed: g, r"):
        Magnitudes(info(), DataSpec(store="s", bands=("z",)))


def test_class_weights_are_inverse_shares_of_the_training_objects():
    target = Classes(info(), DataSpec(store="s", class_weights="inverse"))
    truth = np.array([0, 0, 0, 1], dtype=np.int16)
    target.prepare([truth[:1], truth[1:]])
    assert target.weights.tolist() == pytest.approx([4 / 6, 2, 1])  # class 2 does not occur
    raw = torch.zeros(4, 3)
    losses = target.losses(raw, torch.from_numpy(truth)).numpy()
    assert losses == pytest.approx(np.log(3) * np.array([4 / 6, 4 / 6, 4 / 6, 2]))
    assert losses.mean() == pytest.approx(np.log(3))


def galaxy(*, flux=20000.0, sigma=3.0, ratio=1.0, bump=0.0, size=64) -> np.ndarray:
    """A Gaussian source on a noisy background, (size, size, 3); ``bump`` adds a lump on one side."""
    grid = np.arange(size) - (size - 1) / 2
    x, y = np.meshgrid(grid, grid)
    profile = np.exp(-(x**2 + (y / ratio) ** 2) / 2 / sigma**2)
    profile += bump * np.exp(-((x - 1.5 * sigma) ** 2 + y**2) / 2)
    noise = np.random.default_rng(0).normal(10, 0.5, (size, size, 3))
    return (flux * profile / profile.sum())[..., None] + noise


def test_measurements_of_a_gaussian_are_those_of_theory():
    found = dict(zip(RANGES, measure(galaxy()).tolist(), strict=True))
    assert found["log_flux"] == pytest.approx(np.log10(20000), abs=0.02)
    assert found["size"] == pytest.approx(1.1774 * 3 / 32, rel=0.05)  # half the light of a Gaussian lies within 1.177 σ
    assert found["concentration"] == pytest.approx(5 * np.log10(1.794 / 0.668), rel=0.05)
    assert found["ellipticity"] < 0.05
    assert found["asymmetry"] < 0.1


def test_measurements_follow_what_changes():
    plain, flat, lumpy, wide = (measure(galaxy(**c)) for c in ({}, {"ratio": 0.5}, {"bump": 0.7}, {"sigma": 5.0}))
    names = list(RANGES)
    assert flat[names.index("ellipticity")] == pytest.approx(0.5, abs=0.05)
    assert lumpy[names.index("asymmetry")] > 2 * plain[names.index("asymmetry")]
    assert wide[names.index("size")] == pytest.approx(plain[names.index("size")] * 5 / 3, rel=0.1)


def test_no_source_at_the_centre_is_unknown():
    noise = np.random.default_rng(1).normal(10, 1, (32, 32, 3))
    corner = noise.copy()
    corner[2:5, 2:5] += 500
    for image in (noise, corner, np.zeros((32, 32, 3), dtype=np.uint8)):
        assert np.isnan(measure(image)).all()


def test_measured_properties_are_learnt_from_the_images_alone(tmp_path):
    store = open_store(make_store(tmp_path / "toy", objects=12))
    target = Measured(info(bands=()), DataSpec(store="s", target="measured", bands=("size", "asymmetry")))
    assert (target.bands, target.outputs) == (("size", "asymmetry"), 2)
    table = target.columns(store)
    assert table["magnitudes"].shape == (12, 5)
    truth = np.array([[0.5, 0.25]], dtype=np.float32)
    found = target.metrics(np.array([[0.25, 0.25]], dtype=np.float32), truth, np.array([0.125]))
    assert found == {"loss": 0.125, "mae": 0.125, "mae_by_band": {"size": 0.25, "asymmetry": 0.0}}
    assert target.uncertainty(table, np.arange(2)) == {}


def test_uncertainties_are_those_of_the_chosen_bands():
    target = Magnitudes(info(bands=("u", "g", "r")), DataSpec(store="s", bands=("r", "u")))
    errors = np.arange(6, dtype=np.float32).reshape(2, 3)
    kept = target.uncertainty({"magnitude_errors": errors}, np.array([1, 0]))["uncertainty"]
    assert kept.tolist() == [[5, 3], [2, 0]]


class TestFluxUnit:
    """Fluxes of calibrated stores are in nJy: in the pixels' own unit all but the brightest were below 1, so 0."""

    def info(self, **images):
        recipe = {"fields": {"zero_points": "ZP.cat", **images}}
        return StoreInfo(name="toy", survey="S", release="1", bands=("r",), channels=("r",), class_names=(),
                         pixel_scale=0.55, counts={}, recipe=recipe)  # fmt: skip

    @pytest.mark.parametrize("magnitude", [15.0, 18.0, 21.0])
    def test_the_flux_of_a_magnitude(self, magnitude):
        total = 1e5 * 10 ** (-0.4 * magnitude) / 0.55**2
        image = (galaxy() - 10)[..., :1] * (total / 20000)
        found = measure(image, flux_unit(self.info()))[0]
        assert found == pytest.approx(0.4 * (31.4 - magnitude), abs=0.03)

    def test_pictures_and_raw_counts_stay_in_their_unit(self):
        assert flux_unit(self.info(zero_points=None)) == 1
        colours = replace(self.info(), channels=("red", "green", "blue"))
        assert flux_unit(colours) == 1

    def test_a_constant_target_is_refused(self):
        target = Measured(self.info())
        truth = np.random.default_rng(0).uniform(0.1, 1, (20, 5))
        target.prepare([truth])
        truth[:, 0] = 0
        with pytest.raises(InputError, match="target log_flux is 0 for all 20 training objects"):
            target.prepare([truth[:7], truth[7:]])
        truth[:, 0] = np.nan
        target.prepare([truth])
