"""Every verb where ``flock`` is refused, and where the container of whoever held a lease is gone."""

import errno
import fcntl
import os

import pytest
from faults import nolocks

from hpc_astrossl import locks
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE

LOCKING = ("preprocess", "train", "submit", "report", "embed", "predict")


@pytest.mark.timeout(600)
def test_every_verb_works_and_leaves_nothing(tmp_path, monkeypatch):
    refused = []

    def refuse(*_):
        refused.append(1)
        raise OSError(errno.ENOSYS, os.strerror(errno.ENOSYS))

    nolocks.lay_out(tmp_path)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv(locks.SILENCE, "2")
    monkeypatch.setattr(fcntl, "flock", refuse)
    for verb, arguments in nolocks.COMMANDS.items():
        before = len(refused)
        if verb == "submit":  # its tasks are processes of their own
            done = nolocks.command(tmp_path, verb)
            assert done.returncode == EXIT_DONE, done.stderr
            continue
        assert main(arguments) == EXIT_DONE, verb
        assert len(refused) > before or verb not in LOCKING, f"{verb} asked for no lock"
    assert nolocks.left_behind(tmp_path) == []
    assert {path.name for path in tmp_path.iterdir()} >= {"e.zarr", "p.csv", "classes.csv", "mine.safetensors"}


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("verb", ["preprocess", "train"])
def test_what_was_killed_with_its_container_goes_on_in_another(tmp_path, verb):
    if not nolocks.containers():
        pytest.skip("namespaces are not allowed here")
    nolocks.lay_out(tmp_path)
    assert nolocks.moved(tmp_path, verb) is None
