"""A run that is killed, interrupted or finds its checkpoint damaged ends as if nothing had happened."""

import dataclasses
import json
import os
import pathlib
import resource
import signal
import subprocess
import sys
import time

import narrow
import pytest
import torch
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config, files, names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_CONTINUE, EXIT_FAULT, EXIT_INPUT, Interrupted, TrainingError
from hpc_astrossl.targets.classes import Classes
from hpc_astrossl.training import checkpoint, encoding, loop, run
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.folder import RunFolder, run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")
EPOCHS = 3
TIMES = {"seconds", "samples_per_second", "data_wait"}
RUN = make_run(HEAD, dataclasses.replace(ALL, epochs=EPOCHS), train_size=20)  # 3 steps an epoch
SHORT = make_run(HEAD, train_size=20)  # the same for the head alone, whose checkpoints are small


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


@pytest.fixture(scope="module")
def undisturbed_whole(tmp_path_factory):
    """The same of the whole network, which processes have."""
    workdir = workplace(tmp_path_factory.mktemp("undisturbed"))
    with narrow.channels(1):
        train(RUN, workdir)
    return folder(workdir)


@pytest.fixture(scope="module")
def undisturbed_short(tmp_path_factory):
    """The same of the short run."""
    workdir = workplace(tmp_path_factory.mktemp("undisturbed"))
    train(SHORT, workdir)
    return folder(workdir, SHORT)


@pytest.fixture
def spec_and_truth(request, undisturbed, undisturbed_short):
    """A run, by the test's parameter, and the folder of its undisturbed twin."""
    return (RUN, undisturbed) if request.param == "run" else (SHORT, undisturbed_short)


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


@pytest.mark.usefixtures("whole")
def test_killed_twice_and_started_again_gives_the_same_bits(workdir, undisturbed_whole):
    for lines in (4, 5):
        assert signalled(workdir, signal.SIGKILL, lines)[0] == -signal.SIGKILL
        assert (folder(workdir) / "checkpoint").exists()
        assert not (folder(workdir) / "result.json").exists()
    train(RUN, workdir)
    assert "going on after epoch" in (folder(workdir) / "log").read_text()
    same(folder(workdir), undisturbed_whole)


@pytest.mark.usefixtures("whole")
def test_a_request_to_stop_exits_with_to_be_continued(workdir, undisturbed_whole):
    status, errors = signalled(workdir, signal.SIGTERM, 4)
    assert status == EXIT_CONTINUE
    assert "stopped by SIGTERM in epoch" in errors
    assert "Traceback" not in errors
    train(RUN, workdir)
    same(folder(workdir), undisturbed_whole)


class Killed(Exception):
    """Ends a run from inside, where a test says."""


@pytest.mark.parametrize("last", [1, 3, 4])  # first and last of the head, first of all
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


def step_number(monkeypatch, wanted, act):
    """Call ``act`` after step number ``wanted`` of the whole run (from 1), before anything is saved of it."""
    step, done = loop.train_step, []

    def counted(*arguments):
        loss = step(*arguments)
        done.append(1)
        if len(done) == wanted:
            act()
        return loss

    monkeypatch.setattr(loop, "train_step", counted)


def die():
    raise Killed


# Every step of the head's three epochs, and one within the second epoch of all.
@pytest.mark.parametrize(
    ("spec_and_truth", "wanted"), [("short", n) for n in range(1, 10)] + [("run", 14)], indirect=["spec_and_truth"]
)
def test_ended_in_the_midst_of_an_epoch_and_started_again_gives_the_same_bits(
    workdir, spec_and_truth, monkeypatch, wanted
):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    spec, truth = spec_and_truth
    often = dataclasses.replace(spec, training=dataclasses.replace(spec.training, checkpoint_minutes=0.0))
    with monkeypatch.context() as patch:
        step_number(patch, wanted, die)
        with pytest.raises(Killed):
            train(often, workdir)
    epoch, step = divmod(wanted - 1, 3)
    newest = Checkpoints(folder(workdir, spec) / "checkpoint", print).newest()
    assert newest == (None if wanted == 1 else (epoch, step))
    train(often, workdir)
    if wanted > 1:
        again = f"going on after epoch {epoch}" + (f" and {step} steps" if step else "")
        assert again in (folder(workdir, spec) / "log").read_text()
    same(folder(workdir, spec), truth)


@pytest.mark.parametrize("wanted", [5, 14])
def test_a_request_to_stop_is_answered_after_the_step_and_nothing_is_done_twice(
    workdir, undisturbed, monkeypatch, wanted
):
    with monkeypatch.context() as patch:
        step_number(patch, wanted, lambda: signal.raise_signal(signal.SIGTERM))
        with pytest.raises(Interrupted, match=f"stopped by SIGTERM in epoch {1 + wanted // 3}"):
            train(RUN, workdir)
    assert Checkpoints(folder(workdir) / "checkpoint", print).newest() == (wanted // 3, 2)
    step_number(monkeypatch, 10**6, die)
    train(RUN, workdir)
    same(folder(workdir), undisturbed)


@pytest.mark.parametrize("call", [1, 2, 3, 5])  # encoding training and validation split, two validations
def test_a_request_to_stop_is_answered_while_encoding_and_in_validation(workdir, undisturbed_short, monkeypatch, call):
    collect, calls = loop.collect, []

    def asking(function, loader, engine, stop):
        calls.append(1)
        if len(calls) == call:
            signal.raise_signal(signal.SIGINT)
        return collect(function, loader, engine, stop)

    with monkeypatch.context() as patch:
        for module in (loop, encoding):
            patch.setattr(module, "collect", asking)
        with pytest.raises(Interrupted, match="stopped by SIGINT while it was evaluating"):
            train(SHORT, workdir)
    newest = Checkpoints(folder(workdir, SHORT) / "checkpoint", print).newest()
    assert newest == {1: None, 2: None, 3: (0, 3), 5: (2, 3)}[call]  # all steps of that epoch are done
    train(SHORT, workdir)
    same(folder(workdir, SHORT), undisturbed_short)


@pytest.mark.parametrize("event", range(1, 9))
def test_killed_at_any_file_event_of_a_checkpoint_and_started_again_gives_the_same_bits(
    workdir, undisturbed_short, monkeypatch, event
):
    """A checkpoint is two files, each opened, synced, renamed, and its folder synced: eight points to die at."""
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    write, seen = checkpoint.write_aside, []

    def counted(real):
        def call(*arguments):
            seen.append(1)
            if len(seen) == 16 + event:  # of the third checkpoint
                raise Killed
            return real(*arguments)

        return call

    def dying(path, data):
        with monkeypatch.context() as patch:
            patch.setattr(files.os, "fsync", counted(os.fsync))
            patch.setattr(pathlib.Path, "replace", counted(pathlib.Path.replace))
            patch.setattr(files.os, "open", counted(os.open))
            write(path, data)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_aside", dying)
        with pytest.raises(Killed):
            train(SHORT, workdir)
    train(SHORT, workdir)
    same(folder(workdir, SHORT), undisturbed_short)


def test_killed_between_its_result_and_its_end_no_checkpoint_stays(workdir, undisturbed_short, monkeypatch):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoints, "remove", lambda self: die())
        with pytest.raises(Killed):
            train(SHORT, workdir)
    assert (folder(workdir, SHORT) / "checkpoint").exists()
    train(SHORT, workdir)
    same(folder(workdir, SHORT), undisturbed_short)


def test_a_full_disk_stops_the_run_in_words_and_room_lets_it_go_on(workdir, undisturbed_short, monkeypatch, capsys):
    monkeypatch.setattr(checkpoint, "COST_SHARE", 1e9)
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    with monkeypatch.context() as patch:
        (workdir / "run.yaml").write_text(config.dump(SHORT))
        step_number(patch, 7, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, before[1])))
        try:
            status = main(["train", str(workdir / "run.yaml"), "--workdir", str(workdir)])
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, before)
    error = capsys.readouterr().err
    assert status == EXIT_FAULT
    assert "checkpoint cannot be written (File too large)" in error
    assert "Traceback" not in error
    train(SHORT, workdir)
    assert "going on after epoch 2" in (folder(workdir, SHORT) / "log").read_text()
    same(folder(workdir, SHORT), undisturbed_short)


def test_a_run_folder_that_cannot_be_made_is_named(workdir, capsys):
    (workdir / "runs").write_text("a file in the way")
    assert main(["train", str(workdir / "run.yaml"), "--workdir", str(workdir)]) == EXIT_INPUT
    assert "the run folder cannot be written (Not a directory)" in capsys.readouterr().err


def test_a_validation_loss_that_is_no_number_names_epoch_batch_and_objects(workdir, monkeypatch):
    losses = Classes.losses

    def poisoned(self, raw, truth):
        found = losses(self, raw, truth)
        return found if raw.requires_grad else found.index_fill(0, torch.tensor([3]), float("nan"))

    monkeypatch.setattr(Classes, "losses", poisoned)
    with pytest.raises(TrainingError, match=r"loss of epoch 1, validation batch 1 is not a finite .* step: T0013"):
        train(SHORT, workdir)
    assert not (folder(workdir, SHORT) / "result.json").exists()


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
    add = RunFolder.add_metrics

    def ask(self, record):
        add(self, record)
        if record["epoch"] == 2:
            signal.raise_signal(signal.SIGUSR2)

    monkeypatch.setattr(RunFolder, "add_metrics", ask)
    with pytest.raises(Interrupted, match="stopped by SIGUSR2 in epoch 3; run the same command again"):
        train(RUN, workdir)
    assert Checkpoints(folder(workdir) / "checkpoint", print).newest() == (2, 1)


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
