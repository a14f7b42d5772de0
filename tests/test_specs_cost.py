"""What a grid costs at most: by hand, and without torch."""

import pytest

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.cost import Objects, Rates, grid_hours, run_seconds
from hpc_astrossl.specs.run import DataSpec, PhaseSpec, RunSpec

RATES = Rates(train=10, encode=40, head=1000, side=32)
OBJECTS = Objects(train=100, validation=30, side=64)


def run(*phases, size=None, weights=None, seed=0):
    data = DataSpec(store="s", train_size=size)
    return names.resolved(
        RunSpec(experiment="e", set="S", scheme="scratch", seed=seed, data=data, phases=phases, weights=weights)
    )


HEAD = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-3, epochs=5)
ALL = PhaseSpec(trains="all", optimizer="sgd", learning_rate=1e-3, epochs=2)


def test_everything_trained_costs_its_epochs_in_proportion_to_pixels():
    assert run_seconds(run(ALL), OBJECTS, RATES) == pytest.approx(2 * 4 * (100 / 10 + 30 / 40))
    assert run_seconds(run(ALL, size=10), OBJECTS, RATES) == pytest.approx(2 * 4 * (10 / 10 + 30 / 40))


def test_a_head_costs_one_encoding_and_its_steps():
    steps = 5 * (100 + 10) / 1000
    assert run_seconds(run(HEAD), OBJECTS, RATES) == pytest.approx(130 * 4 / 40 + steps)
    assert run_seconds(run(HEAD), OBJECTS, RATES, encoded=True) == pytest.approx(steps)


def test_a_grid_encodes_each_object_once():
    runs = [run(HEAD, size=size, seed=seed) for seed in range(3) for size in (10, 50)]
    steps = 3 * 5 * (10 + 50 + 2 * 10) / 1000
    assert grid_hours(runs, {"s": OBJECTS}, RATES) * 3600 == pytest.approx((50 + 30) * 4 / 40 + steps)


def test_a_rate_of_nothing_is_refused():
    with pytest.raises(InputError, match="rate train must be positive, found 0"):
        Rates(train=0, encode=1)
