"""Places of Slurm tasks by enumeration, and the files by which they meet; real ranks are in test_engines_ranks."""

import itertools
import json
import socket
import threading

import pytest

from hpc_astrossl.engines.slurm_place import place, tasks_per_node, variables
from hpc_astrossl.engines.slurm_rendezvous import Meeting, _own_address
from hpc_astrossl.errors import InputError


def environment(counts, rank, **changes):
    """What Slurm gives to task ``rank`` of a step with ``counts`` tasks on each node, filled node by node."""
    node, local = [(node, local) for node, count in enumerate(counts) for local in range(count)][rank]
    return {
        "SLURM_JOB_ID": "12", "SLURM_STEP_ID": "3", "SLURM_PROCID": str(rank), "SLURM_LOCALID": str(local),
        "SLURM_NODEID": str(node), "SLURMD_NODENAME": f"n{node}", "SLURM_STEP_NUM_TASKS": str(sum(counts)),
        "SLURM_STEP_TASKS_PER_NODE": ",".join(map(str, counts)),
    } | changes  # fmt: skip


@pytest.mark.parametrize(
    ("text", "counts"),
    [("1", [1]), ("2,1", [2, 1]), ("2(x3),1", [2, 2, 2, 1]), ("4(x2),3(x2)", [4, 4, 3, 3]), ("16(x1)", [16])],
)
def test_tasks_per_node(text, counts):
    assert tasks_per_node(text) == counts


@pytest.mark.parametrize("text", ["", "2x3", "2(3)", "a", "2,,1"])
def test_tasks_per_node_refuses_what_it_does_not_know(text):
    with pytest.raises(ValueError, match="not a list of tasks per node"):
        tasks_per_node(text)


@pytest.mark.parametrize("counts", [c for nodes in (1, 2, 3) for c in itertools.product((1, 2, 3), repeat=nodes)])
def test_places_of_every_step_fit_together(counts):
    places = [place(environment(counts, rank)) for rank in range(sum(counts))]
    assert [one.rank for one in places] == list(range(sum(counts)))
    assert {one.size for one in places} == {sum(counts)}
    assert {one.key for one in places} == {"12.3.0"}
    for node, count in enumerate(counts):
        here = [one for one in places if one.node == f"n{node}"]
        assert [one.local_rank for one in here] == list(range(count))
        assert {one.local_size for one in here} == {count}
    for local in range(max(counts)):
        across = [one for one in places if one.local_rank == local]
        assert [one.cross_rank for one in across] == list(range(len(across)))
        assert {one.cross_size for one in across} == {len(across)}


def test_a_restart_has_its_own_key():
    assert place(environment([2], 0, SLURM_RESTART_COUNT="2")).key == "12.3.2"


def test_a_step_that_contradicts_itself():
    with pytest.raises(ValueError, match=r"SLURM_STEP_TASKS_PER_NODE says \[2, 1\], SLURM_STEP_NUM_TASKS 4"):
        place(environment([2, 1], 0, SLURM_STEP_NUM_TASKS="4"))


def test_variables_of_horovod():
    made = variables(place(environment([2, 1], 2)), "10.0.0.1", 4242)
    assert made["HOROVOD_RANK"] == "2"
    assert made["HOROVOD_HOSTNAME"] == "n1"
    assert (made["HOROVOD_LOCAL_RANK"], made["HOROVOD_LOCAL_SIZE"]) == ("0", "1")
    assert (made["HOROVOD_CROSS_RANK"], made["HOROVOD_CROSS_SIZE"]) == ("1", "2")
    assert made["HOROVOD_GLOO_RENDEZVOUS_ADDR"] == "10.0.0.1"
    assert made["HOROVOD_GLOO_RENDEZVOUS_PORT"] == "4242"


class Server:
    port = 4242

    def __init__(self):
        self.closed = False

    def close(self):
        self.closed = True


def test_all_tasks_meet_and_leave_nothing(tmp_path):
    meetings = [Meeting(place(environment([2, 1], rank)), tmp_path / "shared") for rank in range(3)]
    server, found = Server(), {}

    def hold(rank):
        found[rank] = meetings[rank].hold(lambda: server, "10.0.0.1", 30)

    threads = [threading.Thread(target=hold, args=[rank]) for rank in (2, 1, 0)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == dict.fromkeys(range(3), ("10.0.0.1", 4242))
    for meeting in meetings:
        meeting.close()
    assert server.closed
    assert list((tmp_path / "shared").iterdir()) == []


def test_ranks_that_do_not_come_are_named(tmp_path):
    meeting = Meeting(place(environment([3], 1)), tmp_path)
    words = (
        r"rank 1 of Slurm step 12\.3\.0: after 0 s .*: 12\.3\.0\.0, 12\.3\.0\.2, 12\.3\.0\.json; "
        r"is that folder shared by all nodes\? Set ASTROSSL_RENDEZVOUS"
    )
    with pytest.raises(InputError, match=words):
        meeting.hold(Server, "10.0.0.1", 0.2)


def test_files_of_an_earlier_start_are_not_mistaken(tmp_path):
    (tmp_path / "12.3.0.json").write_text(json.dumps({"address": "10.0.0.1", "port": 1}))
    (tmp_path / "12.3.0.0").write_text("host")
    meeting = Meeting(place(environment([2], 1, SLURM_RESTART_COUNT="1")), tmp_path)
    with pytest.raises(InputError, match=r"12\.3\.1\.0, 12\.3\.1\.json"):
        meeting.hold(Server, "10.0.0.1", 0.2)


def test_a_loopback_address_will_not_do_for_two_hosts(tmp_path):
    (tmp_path / "12.3.0.1").write_text("another-host")
    meeting = Meeting(place(environment([1, 1], 0)), tmp_path)
    with pytest.raises(InputError, match=r"itself only as 127\.0\.1\.1, .*another-host.* HOROVOD_GLOO_IFACE"):
        meeting.hold(Server, "127.0.1.1", 5)


def test_a_node_whose_own_name_has_no_address_is_told_what_to_set(monkeypatch):
    def unknown(name):
        raise socket.gaierror(-3, "Temporary failure in name resolution")

    monkeypatch.setattr(socket, "gethostbyname", unknown)
    with pytest.raises(InputError, match=r"has no address \(Temporary.*set HOROVOD_GLOO_IFACE under .* there are .*lo"):
        _own_address(None)
    assert _own_address("lo") == "127.0.0.1"


def test_own_address():
    assert _own_address("lo") == "127.0.0.1"
    assert _own_address(None) == socket.gethostbyname(socket.gethostname())
    with pytest.raises(InputError, match=r"HOROVOD_GLOO_IFACE=ib9: no such network interface .* there are .*lo"):
        _own_address("ib9")
