"""A run that is killed, interrupted or finds its checkpoint damaged ends as if nothing had happened."""

import dataclasses
import json
import os
import signal
import subprocess
import sys
import time

import pytest
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.errors import EXIT_CONTINUE, Interrupted
from hpc_astrossl.training import checkpoint, run
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.run import train

EPOCHS = 3
TIMES = {"seconds", "samples_per_second", "data_wait"}
RUN = make_run(HEAD, dataclasses.replace(ALL, epochs=EPOCHS), train_size=8)


def folder(workdir, spec=RUN):
    return run_path(workdir, spec.experiment, names.resolved(spec).run_id)


def metrics(path):
    lines = [json.loads(line) for line in (path / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if key not in TIMES} for line in lines]


def workplace(path):
    make_store(path / "toy")
    (path / "run.yaml").write_text(config.dump(RUN))
    return path


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """The folder of the run that nobody touched."""
    workdir = workplace(tmp_path_factory.mktemp("undisturbed"))
    train(RUN, workdir)
    return folder(workdir)


@pytest.fixture
def workdir(tmp_path):
    return workplace(tmp_path)


def same(path, undisturbed):
    assert metrics(path) == metrics(undisturbed)
    assert (path / "weights.safetensors").read_bytes() == (undisturbed / "weights.safetensors").read_bytes()
    first, second = (json.loads((p / "result.json").read_text()) for p in (path, undisturbed))
    assert all(first[key] == second[key] for key in ("metrics", "epochs", "best_epoch", "stopped"))
    assert not (path / "checkpoint").exists()


def signalled(workdir, number, lines):
    """The exit status and errors of ``astrossl train``, sent a signal once metrics.jsonl has that many lines."""
    command = [sys.executable, "-m", "hpc_astrossl", "train", "run.yaml"]
    process = subprocess.Popen(command, cwd=workdir, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                               env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)})  # fmt: skip
    written = folder(workdir) / "metrics.jsonl"
    while not written.exists() or written.read_text().count("\n") < lines:
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.01)
    process.send_signal(number)
    _, errors = process.communicate(timeout=120)
    return process.returncode, errors


def test_killed_twice_and_started_again_gives_the_same_bits(workdir, undisturbed):
    for lines in (4, 5):
        assert signalled(workdir, signal.SIGKILL, lines)[0] == -signal.SIGKILL
        assert (folder(workdir) / "checkpoint").exists()
        assert not (folder(workdir) / "result.json").exists()
    train(RUN, workdir)
    assert "going on after epoch" in (folder(workdir) / "log").read_text()
    same(folder(workdir), undisturbed)


def test_a_request_to_stop_exits_with_to_be_continued(workdir, undisturbed):
    status, errors = signalled(workdir, signal.SIGTERM, 4)
    assert status == EXIT_CONTINUE
    assert "stopped by SIGTERM in epoch" in errors
    assert "Traceback" not in errors
    train(RUN, workdir)
    same(folder(workdir), undisturbed)


class Killed(Exception):
    """Ends a run from inside, where a test says."""


@pytest.mark.parametrize("last", [1, 3, 4, 5])  # first and last of the head, first and second of all
def test_ended_after_any_epoch_and_started_again_gives_the_same_bits(workdir, undisturbed, monkeypatch, last):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)  # a checkpoint every epoch
    add = RunFolder.add_metrics

    def dying(self, record):
        add(self, record)  # the line is written, the checkpoint of that epoch is not
        if record["epoch"] == last:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(RunFolder, "add_metrics", dying)
        with pytest.raises(Killed):
            train(RUN, workdir)
    assert len(metrics(folder(workdir))) == last
    train(RUN, workdir)
    same(folder(workdir), undisturbed)


def test_a_damaged_checkpoint_falls_back_to_the_one_before(workdir, undisturbed, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(run.Training, "finish", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            train(RUN, workdir)
    newest = sorted((folder(workdir) / "checkpoint").glob("*.pt"))[-1]
    data = bytearray(newest.read_bytes())
    data[len(data) // 2] ^= 1
    newest.write_bytes(data)
    capsys.readouterr()
    train(RUN, workdir)
    out = capsys.readouterr().out
    assert f"warning: {newest} is damaged" in out
    assert f"going on after epoch {HEAD.epochs + EPOCHS - 1}" in out
    same(folder(workdir), undisturbed)


def test_an_interrupted_run_saves_the_epoch_it_has_finished(workdir, monkeypatch):
    """Checkpoints are rare when epochs are short; a request to stop makes one all the same."""
    note = run.Training.note

    def ask(self, index, first, record):
        note(self, index, first, record)
        if record["epoch"] == 2:
            self.stop.ask(signal.SIGUSR2)

    monkeypatch.setattr(run.Training, "note", ask)
    with pytest.raises(Interrupted, match="stopped by SIGUSR2 in epoch 3; run the same command again"):
        train(RUN, workdir)
    assert Checkpoints(folder(workdir) / "checkpoint", print).newest() == 2


def test_a_head_phase_after_a_whole_one_goes_on_with_the_trained_convolutions(tmp_path, monkeypatch):
    spec = make_run(dataclasses.replace(ALL, epochs=1), HEAD, train_size=8)
    for place in ("one", "two"):
        make_store(tmp_path / place / "toy")
    train(spec, tmp_path / "one")
    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "COST_SHARE", 1e9)
        patch.setattr(run.Training, "finish", lambda *_, **__: (_ for _ in ()).throw(Killed))
        with pytest.raises(Killed):
            train(spec, tmp_path / "two")
    train(spec, tmp_path / "two")
    same(folder(tmp_path / "two", spec), folder(tmp_path / "one", spec))
