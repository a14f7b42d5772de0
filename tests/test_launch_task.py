"""What a task does with its commands, in this process and as submitit runs it."""

import json
import pickle
import signal
import subprocess
import sys

import pytest
from launch_support import make_workdir

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch.task import Task, TaskFailed, TaskSpec, ToBeContinued, events_file, run


def write_task(folder, *commands):
    path = make_workdir(folder / "with a space") / "task.yaml"
    path.write_text(config.dump(TaskSpec(workdir=str(path.parent), commands=commands)))
    return path


def events(path):
    return [json.loads(line) for line in events_file(path).read_text().splitlines()]


@pytest.fixture(autouse=True)
def _back_home(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)  # a task changes the work directory of its process


def test_commands_run_in_turn_in_the_work_directory(tmp_path, capfd):
    (tmp_path / "with a space").mkdir()
    (tmp_path / "with a space" / "r.yaml").write_text("experiment: e\npretext: {store: s}\n")
    path = write_task(tmp_path, ("plan", "r.yaml"), ("--version",))
    assert Task(path)() == 2
    printed = capfd.readouterr().out
    assert (
        printed.index("+ astrossl plan r.yaml")
        < printed.index("experiment e: 1 runs")
        < printed.index("+ astrossl --v")
    )
    assert [(e["command"], e["event"], e.get("status")) for e in events(path)] == [
        (0, "start", None), (0, "end", 0), (1, "start", None), (1, "end", 0),
    ]  # fmt: skip


def test_a_failure_is_named_at_the_end_and_the_rest_still_runs(tmp_path):
    path = write_task(tmp_path, ("plan", "missing.yaml"), ("--version",), ("nonsense",))
    with pytest.raises(TaskFailed) as caught:
        Task(path)()
    first, second = str(caught.value).splitlines()
    assert first == "astrossl plan missing.yaml: exit 2: astrossl plan: missing.yaml: no such file"
    assert "astrossl nonsense: exit 2" in second
    assert "invalid choice: 'nonsense'" in second
    assert [e["status"] for e in events(path) if e["event"] == "end"] == [2, 0, 2]


def test_a_fault_of_ours_is_named_with_its_exception():
    def broken(_command):
        raise ZeroDivisionError("so it is")

    assert run(broken, ("train", "x")) == (1, "ZeroDivisionError: so it is")


def test_the_reason_is_the_last_line_of_standard_error():
    def says(_command):
        import sys

        print("first\n  the reason \n\n", file=sys.stderr)
        return 2

    assert run(says, ("train", "x")) == (2, "the reason")


def test_submitits_way_out_is_not_swallowed():
    def leaves(_command):
        raise SystemExit(-1)

    with pytest.raises(SystemExit):
        run(leaves, ("train", "x"))


def stopping(monkeypatch, number):
    """An entry that is stopped by that signal as a run is: it saves, and returns 75."""

    def stopped(_command):
        before = signal.signal(number, lambda *_: None)
        signal.raise_signal(number)
        signal.signal(number, before)
        return 75

    monkeypatch.setattr(names, "resolve", lambda *_: stopped)


def test_an_interrupted_command_stops_the_task(tmp_path, monkeypatch):
    path = write_task(tmp_path, ("train", "a"), ("train", "b"))
    stopping(monkeypatch, signal.SIGTERM)
    with pytest.raises(ToBeContinued, match="astrossl train a"):
        Task(path)()
    assert {e["command"] for e in events(path)} == {0}


def test_a_run_stopped_by_the_time_limit_leaves_requeueing_to_submitit(tmp_path, monkeypatch):
    path = write_task(tmp_path, ("train", "a"))
    stopping(monkeypatch, signal.SIGUSR2)
    heard = []
    before = signal.signal(signal.SIGUSR2, lambda number, _: heard.append(number))
    try:
        with pytest.raises(ToBeContinued):
            Task(path)()
    finally:
        signal.signal(signal.SIGUSR2, before)
    assert heard == [signal.SIGUSR2]


def test_the_pickle_holds_one_string_and_checkpoint_says_again(tmp_path):
    path = write_task(tmp_path, ("--version",))
    task = pickle.loads(pickle.dumps(Task(path)))
    assert vars(task) == {"path": str(path)}
    assert vars(task.checkpoint().function) == {"path": str(path)}


LOADS = (
    "import pickle, sys; pickle.load(sys.stdin.buffer); sys.exit('hpc_astrossl.launch.executors' not in sys.modules)"
)


def test_what_answers_a_signal_is_imported_whole_before_submitit_listens(tmp_path):
    """submitit unpickles the task and listens then; the signal may come in the midst of the next import."""
    loaded = subprocess.run([sys.executable, "-c", LOADS], input=pickle.dumps(Task(tmp_path / "task.yaml")))
    assert loaded.returncode == 0


def test_a_task_file_is_read_strictly(tmp_path):
    path = tmp_path / "t.yaml"
    path.write_text("workdir: here\ncommands: []\n")
    with pytest.raises(InputError, match="workdir must be an absolute path, found 'here'"):
        Task(path)()
