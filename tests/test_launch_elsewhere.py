"""Claims of another machine: of a container that was killed, of one that works, and of programs without heartbeats."""

import json
import shutil
import signal
import subprocess
import sys
import threading
import time

import pytest
from launch_support import CHECKOUT, SMALL, astrossl, make_workdir

from hpc_astrossl import locks
from hpc_astrossl.launch.ledger import Entry, Ledger, left_behind, this_process

STORES = ("stores/pretext.zarr", "stores/SG.zarr")
OTHER = {**this_process(), "host": "container-one", "machine": "0b7a another boot pid:[1]"}


@pytest.fixture
def workdir(tmp_path, monkeypatch):
    monkeypatch.setenv(locks.SILENCE, "1")
    return make_workdir(tmp_path, *STORES)


def entry(ledger, *, beat=True, **more):
    """An entry of a task of another machine, and its heartbeat, which is heard no more."""
    made = Entry(**{"kind": "local", "stage": "scratch", "task": "t", "items": ("a",), "job": "9", **OTHER, **more})
    ledger.folder.mkdir(parents=True, exist_ok=True)
    if beat:
        about = json.loads(locks.Heartbeat().line()) | OTHER
        ledger.beat_of(made).write_text(json.dumps(about))
    return made


def test_a_silent_one_is_left_behind_and_its_heartbeat_removed(workdir):
    ledger = Ledger(workdir, "small")
    one = entry(ledger)
    assert left_behind(ledger, [one]) == [one]
    assert not ledger.beat_of(one).exists()
    assert left_behind(ledger, [one]) == [one]  # at once: no heartbeat, though its program kept one


def test_one_whose_submitter_is_heard_is_not(workdir):
    ledger, over = Ledger(workdir, "small"), threading.Event()
    one, submitter = entry(ledger, beat=False), entry(ledger, job=None)
    file = ledger.beat_of(submitter)
    about = json.loads(file.read_text())

    def beat():
        number = 0
        while not over.wait(0.1):
            number += 1
            file.write_text(json.dumps(about | {"beat": f"{number:09d}"}))

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        assert left_behind(ledger, [one]) == []
    finally:
        over.set()
        thread.join()


def test_of_an_earlier_program_s_nothing_is_known(workdir):
    ledger = Ledger(workdir, "small")
    assert left_behind(ledger, [entry(ledger, beat=False, machine=None)]) == []


def submitted(workdir, **who):
    """Submit for real, its entries then changed to those of ``who`` as if they ran elsewhere."""
    (workdir / "small.yaml").write_text(SMALL)
    planned = json.loads(astrossl("plan", "small.yaml", "--json", cwd=workdir).stdout)
    items = [(stage["stage"], item["key"]) for stage in planned["stages"] for item in stage["items"]]
    ledger = Ledger(workdir, "small")
    ledger.add([Entry(kind="local", stage=stage, task=f"t{n}", items=(key,), job="9", **who)
                for n, (stage, key) in enumerate(items)])  # fmt: skip
    return len(items)


def test_an_unknown_claim_is_named_with_the_command_that_frees_it(workdir):
    count = submitted(workdir, host="container-one", pid=7, started=1)
    done = astrossl("submit", "small.yaml", "--cluster", "local", cwd=workdir)
    assert done.returncode == 2
    assert f"0 done, {count} queued or running, 0 to submit" in done.stdout
    assert "container-one holds some, and cannot be seen from here" in done.stderr
    assert "free them with: astrossl cancel small, then submit again" in done.stderr
    assert "Traceback" not in done.stderr
    assert "astrossl cancel small" in astrossl("status", "small", cwd=workdir).stdout
    assert "the claim of container-one" in astrossl("cancel", "small", cwd=workdir).stdout


def test_a_dead_container_s_claim_is_gone_on_with(workdir):
    count = submitted(workdir, **OTHER)
    done = astrossl("submit", "small.yaml", "--cluster", "local", cwd=workdir)
    assert f"0 done, 0 queued or running, {count} to submit" in done.stdout
    assert "container-one" not in done.stderr


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("unshare") is None, reason="needs unshare")
def test_a_container_of_another_name_goes_on_where_one_was_killed(workdir):
    """With namespaces of the kernel for real: another host name and other process ids."""
    (workdir / "small.yaml").write_text(SMALL)
    script = f"hostname $0; cd {workdir}; PYTHONPATH={CHECKOUT} exec {sys.executable} -m hpc_astrossl " \
             "submit small.yaml --cluster local"  # fmt: skip
    inside = ["unshare", "--uts", "--pid", "--fork", "--kill-child", "--mount-proc", "sh", "-c", script]
    if subprocess.run(["unshare", "--uts", "--pid", "--fork", "--mount-proc", "true"], capture_output=True).returncode:
        pytest.skip("namespaces are not allowed here")
    ledger = Ledger(workdir, "small")
    first = subprocess.Popen([*inside, "container-one"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    end = time.monotonic() + 60
    while not ledger.entries() and time.monotonic() < end:
        time.sleep(0.05)
    first.send_signal(signal.SIGKILL)  # --kill-child ends all of the container
    first.wait()
    assert ledger.entries()[0].host == "container-one"
    again = subprocess.run([*inside, "container-two"], capture_output=True, text=True, timeout=300)
    assert "0 queued or running" in again.stdout
    assert "to submit" in again.stdout
    assert ledger.entries()[-1].host == "container-two"
