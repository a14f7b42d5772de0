"""The pure parts of training: subsets, early stopping, the plateau, leakage, checkpoints, what is watched."""

import resource
import signal

import numpy as np
import pytest
import torch
from training_toys import make_store

from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import Interrupted, TrainingError
from hpc_astrossl.specs.run import PhaseSpec, TrainingSpec
from hpc_astrossl.store import RowSet, open_store
from hpc_astrossl.training import subset as subsets
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.leakage import close_pairs
from hpc_astrossl.training.optim import Plateau, Stopping, optimizer
from hpc_astrossl.training.subset import subset
from hpc_astrossl.training.watch import SIGNALS, Stop, Watch

# ---- subset


def drawn(rows, strata, size, seed, stretch=1000):
    """The subset as rows, of strata that come so many at a time."""

    def parts():
        for start in range(0, len(rows), stretch):
            yield rows[start : start + stretch], strata[start : start + stretch]

    return np.asarray(subset(RowSet.of(rows, 500), parts, size, seed))


@pytest.fixture(params=["permuted", "hashed"])
def order(request, monkeypatch):
    """Both ways to draw, that of few and that of many training objects."""
    if request.param == "hashed":
        monkeypatch.setattr(subsets, "PERMUTED", 0)
    return request.param


@pytest.mark.parametrize("counts", [(7, 5), (3, 3, 3), (20, 1, 2), (4,)])
@pytest.mark.parametrize("seed", [0, 1])
def test_subsets_of_every_size_are_exact_nested_and_stratified(counts, seed, order):
    strata = np.random.default_rng(9).permutation(np.repeat(np.arange(len(counts)), counts))
    rows = 100 + 2 * np.arange(len(strata))
    before: set[int] = set()
    for size in range(1, len(rows) + 1):
        chosen = drawn(rows, strata, size, seed)
        assert len(chosen) == size
        assert (np.diff(chosen) > 0).all()
        assert before < set(chosen.tolist()) <= set(rows.tolist())
        before = set(chosen.tolist())
        got = np.bincount(strata[np.searchsorted(rows, chosen)], minlength=len(counts))
        assert (np.abs(got - size * np.array(counts) / len(rows)) <= 1).all()


def test_a_subset_is_drawn_from_the_seed(order):
    rows, strata = np.arange(100), np.zeros(100)
    assert drawn(rows, strata, 10, 1).tolist() == drawn(rows, strata, 10, 1).tolist()
    assert drawn(rows, strata, 10, 1).tolist() != drawn(rows, strata, 10, 2).tolist()


def test_the_subset_of_a_seed_is_that_of_every_version():
    """Published results are of these objects."""
    rows = 3 * np.arange(100)
    assert drawn(rows, np.arange(100) % 3, 8, 1).tolist() == [54, 78, 102, 156, 192, 249, 261, 297]


@pytest.mark.parametrize("stretch", [1, 7, 64])
@pytest.mark.parametrize("bits", [1, 3, 12])
def test_neither_stretches_nor_counted_bits_change_a_subset_drawn_by_hash(monkeypatch, order, stretch, bits):
    rows, strata = 2 * np.arange(200), np.random.default_rng(3).integers(0, 4, 200)
    wanted = drawn(rows, strata, 61, 5).tolist()
    monkeypatch.setattr(subsets, "BITS", bits)
    assert drawn(rows, strata, 61, 5, stretch).tolist() == wanted


def test_a_hash_gives_each_stratum_what_a_permutation_gives_it(monkeypatch):
    strata = np.random.default_rng(4).choice([-3, 2, 5, 9], 400, p=[0.5, 0.3, 0.15, 0.05])
    for size in range(1, 401, 7):
        shares = []
        for limit in (0, 1 << 24):
            monkeypatch.setattr(subsets, "PERMUTED", limit)
            shares.append(np.unique(strata[drawn(np.arange(400), strata, size, 1)], return_counts=True))
        assert np.array_equal(shares[0], shares[1])


def test_within_a_stratum_every_object_is_as_likely_as_the_next(monkeypatch):
    monkeypatch.setattr(subsets, "PERMUTED", 0)
    times = np.bincount(np.concatenate([drawn(np.arange(50), np.zeros(50), 10, seed) for seed in range(500)]))
    assert times.min() > 60  # of 100
    assert times.max() < 140


# ---- optim


@pytest.mark.parametrize("kind", ["adam", "sgd"])
def test_an_optimiser_steps_as_torchs_does_and_takes_its_state(kind):
    """To the last bit, before and after each has taken up the other's state."""
    spec = PhaseSpec(trains="head", optimizer=kind, learning_rate=1e-2, epochs=1)
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.nn.Linear(5, 3) for _ in range(2))
    theirs.load_state_dict(ours.state_dict())
    lean = optimizer(ours, spec)
    plain = type(lean).__mro__[1](theirs.parameters(), **{name: lean.defaults[name] for name in GIVEN[kind]})
    assert type(plain).__module__ == f"torch.optim.{kind}"
    for _ in range(2):
        for _ in range(3):
            images = torch.rand(4, 5, generator=generator)
            for net, one in ((ours, lean), (theirs, plain)):
                one.zero_grad()
                net(images).square().sum().backward()
                one.step()
            assert torch.equal(ours.weight, theirs.weight)
        mine, other = lean.state_dict(), plain.state_dict()
        lean.load_state_dict(other)
        plain.load_state_dict(mine)


GIVEN = {"adam": ("lr", "fused"), "sgd": ("lr", "fused", "momentum", "nesterov")}


def test_stopping_counts_epochs_without_a_better_loss():
    stopping = Stopping(patience=2)
    assert [stopping.better(loss, epoch) for epoch, loss in enumerate([3.0, 2.0, 2.0], 1)] == [True, True, False]
    assert not stopping.exhausted
    stopping.better(2.5, 4)
    assert stopping.exhausted
    assert (stopping.best, stopping.best_epoch) == (2.0, 2)
    assert Stopping(**stopping.state()) == stopping
    assert not Stopping(patience=None, waited=1000).exhausted


def test_the_rate_falls_at_the_patience_th_epoch_without_a_better_loss_and_goes_on_after_a_restore():
    def fresh():
        wrapped = optimizer(torch.nn.Linear(1, 1), PhaseSpec(trains="all", optimizer="sgd", learning_rate=1, epochs=9))
        return wrapped, Plateau(wrapped, TrainingSpec(plateau_patience=3))

    (first, plateau), rates = fresh(), []
    for loss in (5, 4, 4, 4.5, 4, 4, 4):
        plateau.step(loss)
        rates.append(first.param_groups[0]["lr"])
        if len(rates) == 4:
            saved = (first.state_dict(), plateau.state())
    assert rates == pytest.approx([1, 1, 1, 1, 0.1, 0.1, 0.1])
    second, again = fresh()
    second.load_state_dict(saved[0])
    again.restore(saved[1])
    again.step(4)
    assert second.param_groups[0]["lr"] == pytest.approx(0.1)


def test_sgd_is_nesterovs_with_momentum_and_plain_without():
    for momentum in (0.9, 0.0):
        spec = PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=1, momentum=momentum)
        group = optimizer(torch.nn.Linear(1, 1), spec).param_groups[0]
        assert (group["momentum"], group["nesterov"]) == (momentum, momentum > 0)


# ---- leakage


def sky(*places):
    ra, dec = np.array(places, dtype=float).T
    return {"ra": ra, "dec": dec}


@pytest.mark.parametrize(
    ("first", "second", "near"),
    [
        ((10, 0), (10 + 0.9 / 3600, 0), True),
        ((10, 0), (10 + 1.1 / 3600, 0), False),
        ((0.00005, -30), (359.99995, -30), True),  # across 0 h: 0.36″ × cos 30°
        ((0, 89.9999), (180, 89.9999), True),  # across the pole: 0.72″
        ((0, 89.999), (180, 89.999), False),
        ((np.nan, np.nan), (np.nan, np.nan), False),
    ],
)
def test_pairs_within_an_arcsecond_on_the_sphere(first, second, near):
    far = (200, 45)
    pairs = close_pairs(sky(far, first), sky(second, (20, 20)))
    assert pairs.tolist() == ([[1, 0]] if near else [])


# ---- checkpoint

PLACES = ((0, 5), (1, 0), (1, 12))  # five steps into the first epoch, after it, twelve steps into the second


def test_the_last_two_checkpoints_are_kept_and_read_back(tmp_path):
    checkpoints = Checkpoints(tmp_path / "checkpoint", print)
    assert checkpoints.newest() is None
    for number, place in enumerate(PLACES):
        checkpoints.save(place, {"number": number, "weights": torch.full((3,), float(number))})
    names = sorted(path.name for path in (tmp_path / "checkpoint").iterdir())
    stems = ("epoch-000001-step-000000.pt", "epoch-000001-step-000012.pt")
    assert names == [stem + end for stem in stems for end in ("", ".sha256")]
    assert checkpoints.newest() == (1, 12)
    assert checkpoints.load((1, 12))["weights"].tolist() == [2, 2, 2]


@pytest.mark.parametrize("damage", ["flip", "cut", "empty", "unfinished"])
def test_a_damaged_checkpoint_is_told_of_and_the_one_before_taken(tmp_path, damage):
    told: list[str] = []
    checkpoints = Checkpoints(tmp_path, told.append)
    for place in PLACES[:2]:
        checkpoints.save(place, {"weights": torch.arange(100.0)})
    path = tmp_path / "epoch-000001-step-000000.pt"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes({"flip": bytes(data), "cut": data[:50], "empty": b"", "unfinished": data}[damage])
    if damage == "unfinished":  # killed between the two renames
        path.with_name(path.name + ".sha256").unlink()
    assert checkpoints.newest() == (0, 5)
    assert len(told) == (damage != "unfinished")
    assert all(f"{path} is damaged (its SHA-256 has changed); going back to the one before" in line for line in told)


def test_no_flipped_bit_goes_unnoticed(tmp_path):
    checkpoints = Checkpoints(tmp_path, lambda _: None)
    checkpoints.save((1, 0), {"weights": torch.arange(50.0)})
    path = tmp_path / "epoch-000001-step-000000.pt"
    whole = path.read_bytes()
    for position in range(0, len(whole), 7):
        data = bytearray(whole)
        data[position] ^= 1 << position % 8
        path.write_bytes(data)
        assert checkpoints.newest() is None
        with pytest.raises(TrainingError, match="damaged as read here"):
            checkpoints.load((1, 0))
    path.write_bytes(whole)
    assert checkpoints.newest() == (1, 0)


def test_saving_takes_a_small_share_of_the_time(tmp_path):
    checkpoints = Checkpoints(tmp_path, print)
    assert checkpoints.due()
    checkpoints.save((1, 0), {"weights": torch.zeros(1000)})
    assert not checkpoints.due()


def test_within_an_epoch_the_minutes_must_be_over(tmp_path):
    assert Checkpoints(tmp_path, print, minutes=0).due(within=True)
    assert not Checkpoints(tmp_path, print, minutes=1).due(within=True)


def test_a_checkpoint_that_cannot_be_written_names_the_way_on(tmp_path):
    (tmp_path / "checkpoint").write_text("a file in the way")
    with pytest.raises(TrainingError, match=r"checkpoint cannot be written .* make room and run the same command"):
        Checkpoints(tmp_path / "checkpoint", print).save((4, 0), {})


def limited(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.getrlimit(resource.RLIMIT_FSIZE)[1]))


@pytest.mark.parametrize("limit", [0, 1, 700, 4096, 30000])
def test_a_full_disk_leaves_the_checkpoint_before_and_no_litter(tmp_path, limit):
    checkpoints, before = Checkpoints(tmp_path, print), resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    checkpoints.save((1, 0), {"weights": torch.zeros(10000)})
    names = sorted(tmp_path.iterdir())
    limited(limit)  # no file may grow beyond: what a full disk looks like to one writer
    try:
        with pytest.raises(TrainingError, match=r"cannot be written \(File too large\), 1 MiB are needed"):
            checkpoints.save((2, 0), {"weights": torch.zeros(10000)})
    finally:
        limited(before)
    assert sorted(tmp_path.iterdir()) == names
    assert checkpoints.newest() == (1, 0)


# ---- watch


def watch(stop=None, due=lambda: False) -> Watch:
    found = Watch(
        open_engine("single", "cpu"), stop or Stop(), np.array([f"id{i}" for i in range(100)]).__getitem__, due
    )
    found.begin(3)
    return found


def test_the_epochs_loss_is_the_mean_over_objects_not_over_batches():
    it = watch()
    it.step(0, torch.tensor(6.0), np.arange(3))
    it.step(1, torch.tensor(10.0), np.arange(1))
    assert it.end() == (4.0, 4)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_loss_that_is_no_number_names_epoch_step_and_objects(value):
    it = watch()
    it.step(0, torch.tensor(1.0), np.arange(3))
    with pytest.raises(TrainingError, match=r"epoch 3, step 2 is not a finite number; objects of that step: id5, id6"):
        it.step(1, torch.tensor(value), np.array([5, 6]))


def test_only_the_first_objects_are_named():
    with pytest.raises(TrainingError, match=r"id9 and 22 more\. The last checkpoint is kept"):
        watch().step(0, torch.tensor(float("nan")), np.arange(32))


def test_an_epoch_goes_on_with_the_sums_it_was_left_with():
    it = watch()
    it.step(0, torch.tensor(0.1), np.arange(3))
    left = it.sums()
    it.step(1, torch.tensor(0.7), np.arange(2))
    again = watch()
    again.begin(3, left)
    again.step(1, torch.tensor(0.7), np.arange(2))
    assert again.end() == it.end()
    shared = watch()
    shared.begin(3, [(1.0, 2), (2.0, 3)])  # left by two ranks, taken up by one
    assert shared.end() == (3.0 / 5, 5)


def test_a_checkpoint_is_wanted_when_it_is_due():
    assert not watch().step(0, torch.tensor(1.0), np.arange(2))
    assert watch(due=lambda: True).step(0, torch.tensor(1.0), np.arange(2))


def test_a_signal_is_answered_after_the_next_step_and_handlers_are_put_back():
    before, stop = signal.getsignal(signal.SIGTERM), Stop()
    with stop.listening(), stop.gently():
        signal.raise_signal(signal.SIGTERM)
        assert stop.name == "SIGTERM"
        it = watch(stop)
        assert it.step(0, torch.tensor(1.0), np.arange(2))  # a checkpoint is wanted first
        with pytest.raises(Interrupted, match="stopped by SIGTERM in epoch 3; run the same command again"):
            it.obey()
    assert signal.getsignal(signal.SIGTERM) == before


@pytest.mark.parametrize("number", SIGNALS)
def test_before_training_a_signal_ends_the_run_where_it_is(number):
    with Stop().listening(), pytest.raises(Interrupted, match=f"stopped by {number.name} before training began"):
        signal.raise_signal(number)


def test_a_request_to_stop_that_comes_while_a_store_is_opened_is_not_taken_for_damage(tmp_path, monkeypatch):
    """Whatever Zarr raises there is damage; a signal's handler raises there, too."""
    path = make_store(tmp_path / "toy")
    monkeypatch.setattr("zarr.open_group", lambda *_, **__: signal.raise_signal(signal.SIGTERM))
    with Stop().listening(), pytest.raises(Interrupted, match="stopped by SIGTERM before training began"):
        open_store(path)


def test_a_request_to_stop_of_which_a_library_makes_another_error_is_one_all_the_same():
    def library() -> None:
        try:
            signal.raise_signal(signal.SIGTERM)
        except Interrupted:
            raise ValueError("could not determine the shape") from None

    with pytest.raises(Interrupted, match="stopped by SIGTERM before training began"), Stop().listening():
        library()


def test_a_second_ctrl_c_does_not_wait():
    stop = Stop()
    with stop.listening(), stop.gently():
        signal.raise_signal(signal.SIGINT)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
