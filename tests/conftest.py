"""One thread a process: tests start many, and threads that wait for one another on few cores take ten times as long."""

import importlib.util
import os
import signal

import narrow as narrow_networks
import pytest
import slurm_support

os.environ.setdefault("OMP_NUM_THREADS", "1")
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # of a background job of a script; what tests start would have it
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session", autouse=True)
def unhurried():
    """Tests do not wait for the disk: none cuts the power. (A fourth of the time of those of the store was waiting.)

    A descriptor that is none is still an error. Commands that tests start wait as ever.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda descriptor: os.fstat(descriptor) and None)
        yield


@pytest.fixture(scope="module")
def narrow():
    """VGG16 has an eighth of its channels while the tests of a module run in this process.

    For tests of the loop, its files and what is made of a run, none of which asks how wide the network is: they wait
    for convolutions and weights of 58 MB otherwise. Whole networks stay where a test is about them, about what the
    project ships for them, or about processes.
    """
    with narrow_networks.channels(8):
        yield


@pytest.fixture
def whole():
    """VGG16 as it is, for a test of such a module."""
    with narrow_networks.channels(1):
        yield


@pytest.fixture(scope="session")
def slurm(tmp_path_factory):
    """A real Slurm of two virtual nodes on this machine, for all tests of the session."""
    with slurm_support.running(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
def workdir(tmp_path, slurm):
    """Of the tests on a real Slurm: holds a toy store; what a failed test leaves in the queue is not the next one's."""
    from training_toys import make_store

    make_store(tmp_path / "stores/toy.zarr")
    yield tmp_path
    slurm.ask("scancel", "--me")
    slurm.settle()


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory):
    """What the long toy run gives without Slurm and without a disturbance."""
    import slurm_toys

    return slurm_toys.undisturbed(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture
def no_bundled_weights(tmp_path, monkeypatch):
    """As on an installation that came without ImageNet's weights."""
    monkeypatch.setattr("hpc_astrossl.cache.BUNDLED_FOLDER", tmp_path / "nothing")


def pytest_collection_modifyitems(items):
    """What waits for Slurm comes first, so that the other test processes have work meanwhile; without Horovod its tests
    are skipped."""
    if importlib.util.find_spec("horovod") is None:
        for item in items:
            if item.get_closest_marker("horovod"):
                item.add_marker(pytest.mark.skip(reason="no Horovod here; containers/build_horovod.sh cpu builds it"))
    items.sort(key=lambda item: item.get_closest_marker("slurm") is None)
