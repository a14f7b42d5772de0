"""One at a time, with flock and without: leases that end with their holder, that nobody takes twice, and whose loss is
noticed before anything is written."""

import contextlib
import errno
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from hpc_astrossl import files, locks, machine
from hpc_astrossl.errors import InputError, TrainingError

ELSEWHERE = "0b7a another boot pid:[1]"
HOLD = """
import errno, fcntl, sys, time
from pathlib import Path
from hpc_astrossl import locks
def refuse(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")
if "lease" in sys.argv:
    fcntl.flock = refuse
with locks.locked(Path(sys.argv[1])):
    print("held", flush=True)
    time.sleep(60)
"""


@pytest.fixture(params=[errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP])
def no_flock(request, monkeypatch):
    def refuse(*_):
        raise OSError(request.param, os.strerror(request.param))

    monkeypatch.setattr(fcntl, "flock", refuse)
    monkeypatch.setenv(locks.SILENCE, "1")


def left(folder):
    return sorted(path.name for path in folder.iterdir())


def foreign(path, number=1, **more):
    """A lease by a process of another machine, which says nothing more."""
    about = {**json.loads(locks.Heartbeat().line()), "machine": ELSEWHERE, "host": "container-one", **more}
    locks.lease_file(path, number).write_text(json.dumps(about) + "\n")
    return about


def test_without_flock_one_at_a_time_and_nothing_left(tmp_path, no_flock):
    inside, most = [], []

    def work():
        for _ in range(5):
            with locks.locked(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.005)
                inside.pop()

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(most) == 20
    assert max(most) == 1
    assert left(tmp_path) == ["lock"]


@pytest.mark.parametrize("kind", ["flock", "lease"])
def test_who_holds_it_is_said_and_his_end_frees_it_at_once(tmp_path, kind, monkeypatch):
    if kind == "lease":
        monkeypatch.setattr(fcntl, "flock", _refuse)
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path / "lock"), kind], stdout=subprocess.PIPE)
    try:
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(locks.Held, match=f"process {holder.pid} on"), locks.locked(tmp_path / "lock", patience=0):
            pass
    finally:
        holder.send_signal(signal.SIGKILL)
        holder.communicate()
    begin = time.monotonic()
    with locks.locked(tmp_path / "lock", patience=0):
        assert time.monotonic() - begin < 5  # not the 30 s of silence: the process is seen to be gone
    assert left(tmp_path) == ["lock"]


def _refuse(*_):
    raise OSError(errno.ENOSYS, "Function not implemented")


def test_a_silent_lease_of_another_machine_is_taken_over_after_its_own_time(tmp_path, no_flock):
    foreign(tmp_path / "lock", silence=1.5, time="2099-01-01T00:00:00+00:00")  # a clock that is far ahead
    begin = time.monotonic()
    with locks.locked(tmp_path / "lock", patience=0):
        assert time.monotonic() - begin >= 1.5
        assert left(tmp_path) == ["lock", "lock.lease2"]
    assert left(tmp_path) == ["lock"]


def test_one_that_beats_is_not_taken_over_whatever_its_clock(tmp_path, no_flock):
    about, over = foreign(tmp_path / "lock", silence=2, time="1999-01-01T00:00:00+00:00"), threading.Event()

    def beat():
        for number in range(1, 1000):
            if over.wait(0.2):
                return
            text = json.dumps(about | {"beat": f"{number:09d}"}) + "\n"
            locks.lease_file(tmp_path / "lock", 1).write_text(text)

    thread = threading.Thread(target=beat)
    thread.start()
    try:
        with pytest.raises(locks.Held, match="on container-one"), locks.locked(tmp_path / "lock", patience=2.5):
            pass
    finally:
        over.set()
        thread.join()


def test_of_many_who_find_it_silent_one_takes_it(tmp_path, no_flock):
    for _ in range(5):
        foreign(tmp_path / "lock", silence=1)
        inside, most = [], []

        def work(inside=inside, most=most):
            with locks.locked(tmp_path / "lock"):
                inside.append(1)
                most.append(len(inside))
                time.sleep(0.02)
                inside.pop()

        threads = [threading.Thread(target=work) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert most == [1] * 6
        assert left(tmp_path) == ["lock"]


def test_a_holder_who_was_taken_for_dead_is_told_before_he_writes(tmp_path, no_flock):
    with contextlib.ExitStack() as stack:
        lock = stack.enter_context(locks.locked(tmp_path / "lock"))
        lock.check()
        foreign(tmp_path / "lock", 2)
        with pytest.raises(TrainingError, match="another took over its work"):
            lock.check()
    assert left(tmp_path) == ["lock", "lock.lease1", "lock.lease2"]  # the other's is not removed


def test_time_counts_only_while_the_file_system_answers(tmp_path, no_flock, monkeypatch):
    foreign(tmp_path / "lock", silence=30)
    watch, file = locks.Watch(), locks.lease_file(tmp_path / "lock", 1)
    assert watch.state(file) == "unsure"
    now = time.monotonic()
    monkeypatch.setattr(time, "monotonic", lambda: now + 600)  # it hung for ten minutes
    assert watch.state(file) == "unsure"


def test_mounts_on_which_each_node_locks_for_itself_have_no_locks(tmp_path, monkeypatch):
    (tmp_path / "mounts").write_text(
        "22 1 0:20 / / rw,relatime - ext4 /dev/a rw\n"
        f"23 22 0:21 / {tmp_path}/nfs rw,relatime shared:1 - nfs4 s:/a rw,vers=3,local_lock=all\n"
        f"24 22 0:22 / {tmp_path}/lustre rw,flock shared:2 - lustre s:/b rw,localflock\n"
    )
    monkeypatch.setattr(locks, "MOUNTS", tmp_path / "mounts")
    assert locks._has_locks(tmp_path / "lock")
    assert not locks._has_locks(tmp_path / "nfs/deep/lock")
    assert not locks._has_locks(tmp_path / "lustre/lock")


@pytest.mark.parametrize("words", ["soon", "0", "1e9", "nan"])
def test_the_time_of_silence_is_seconds(words, monkeypatch):
    monkeypatch.setenv(locks.SILENCE, words)
    with pytest.raises(InputError, match="expected seconds between 1 and 3600"):
        locks.silence()


def test_a_lock_file_that_is_a_link_is_not_followed(tmp_path):
    (tmp_path / "precious").write_text("of the user")
    (tmp_path / "lock").symlink_to("precious")
    with pytest.raises(OSError, match="symbolic"), locks.locked(tmp_path / "lock"):
        pass
    assert (tmp_path / "precious").read_text() == "of the user"


def test_another_container_with_the_same_host_name_is_another_machine():
    me = machine.this_process()
    assert machine.here(me)
    assert machine.runs(me)
    assert not machine.here({**me, "machine": ELSEWHERE})
    assert machine.here({"host": me["host"]})  # as earlier programs wrote it
    assert not machine.runs({**me, "started": 1})


class TestWriteAside:
    def test_two_writers_of_one_path_never_tear_it(self, tmp_path):
        path, wrong, over = tmp_path / "result.json", [], threading.Event()
        files.write_aside(path, b"a" * 4000)

        def write(letter):
            try:
                for _ in range(60):
                    files.write_aside(path, letter * 4000)
            except OSError as error:
                wrong.append(error)

        def read():
            while not over.is_set():
                data = path.read_bytes()
                if len(data) != 4000 or len(set(data)) != 1:
                    wrong.append(data[:10])

        reader = threading.Thread(target=read)
        writers = [threading.Thread(target=write, args=(letter,)) for letter in (b"a", b"b")]
        for thread in [reader, *writers]:
            thread.start()
        for thread in writers:
            thread.join()
        over.set()
        reader.join()
        assert wrong == []
        assert left(tmp_path) == ["result.json"]

    def test_what_dead_writers_left_goes_and_what_others_write_stays(self, tmp_path):
        with subprocess.Popen(["true"]) as dead:
            pass
        path = tmp_path / ("é" * 120)  # a name of 240 bytes: the one beside it is shorter
        living = files.aside_of(path)
        left_behind = living.with_name(living.name.replace(f"-{os.getpid()}-", f"-{dead.pid}-"))
        parts = living.name.rsplit(".", 2)
        elsewhere, old = (living.with_name(f"{parts[0]}.{place}-1-1-0.partial") for place in ("a" * 12, "b" * 12))
        for aside in (living, left_behind, elsewhere, old):
            aside.write_bytes(b"some")
        os.utime(old, (1, 1))
        files.write_aside(path, b"whole")
        assert left(tmp_path) == sorted([path.name, living.name, elsewhere.name])

    def test_what_could_not_be_written_leaves_nothing(self, tmp_path):
        (tmp_path / "there").mkdir()
        (tmp_path / "there/file").write_text("in the way")
        with pytest.raises(OSError):  # noqa: PT011
            files.write_aside(tmp_path / "there", b"x")
        assert left(tmp_path) == ["there"]


def test_a_lock_whose_file_was_removed_is_not_held_beside_the_next_one(tmp_path):
    """Who waited gets the file that its holder removed, while another holds the one that has the name now."""
    path, order = tmp_path / "lock", []

    def wait():
        with locks.locked(path):
            order.append("waited")

    with contextlib.ExitStack() as first, contextlib.ExitStack() as next_one:
        first.enter_context(locks.locked(path))
        waiting = threading.Thread(target=wait)
        waiting.start()
        time.sleep(2 * locks.POLL)  # it has opened the file
        path.unlink()
        next_one.enter_context(locks.locked(path, patience=0))
        first.close()
        waiting.join(5 * locks.POLL)
        order.append("next")
        next_one.close()
        waiting.join()
    assert order == ["next", "waited"]
