"""Ranks as tasks of a Slurm step, Horovod's or torch.distributed's: no ssh, no MPI, no horovodrun.

Rank 0 serves Horovod's rendezvous and publishes its address as a file in a folder that all nodes share; every task
derives its place from Slurm's environment, signs in beside that file, and waits for all others. Only then does
Horovod start, so that slow starts do not meet Gloo's own short time-out.
"""

import json
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

from hpc_astrossl.engines.slurm_place import Place, place, variables
from hpc_astrossl.errors import InputError

FOLDER = "ASTROSSL_RENDEZVOUS"  # the shared folder; unset: .astrossl-rendezvous in the work directory
INTERFACE = "HOROVOD_GLOO_IFACE"  # the network interface, where a node's own name is not its address
START_SECONDS = 300.0  # for the slowest task to come
GLOO_SECONDS = "120"  # until a peer that fell silent is given up
_meetings = count()  # of this process: a task may train several runs, one after another, on the same ranks


class Meeting:
    """One task's part in the rendezvous of its step. ``close`` ends the server and removes this task's files."""

    def __init__(self, place: Place, folder: Path):
        self.place, self.server = place, None
        self.found: tuple[str, int] = ("", 0)  # address and port of the server
        self.variables: tuple[str, ...] = ()  # of the environment, set for Horovod
        self._address = folder / f"{place.key}.json"
        self._signed = folder / f"{place.key}.{place.rank}"
        folder.mkdir(parents=True, exist_ok=True)

    def hold(self, serve: Callable[[], Any], address: str, seconds: float) -> tuple[str, int]:
        """Serve when this is rank 0, sign in, wait for all; (address, port) of the server.

        ``serve()`` gives a running server with ``port`` and ``close``. InputError after ``seconds`` with the ranks that
        did not come.
        """
        if self.place.rank == 0:
            self.server = serve()
            _publish(self._address, json.dumps({"address": address, "port": self.server.port}))
        _publish(self._signed, socket.gethostname())
        wanted = {self._address.name} | {f"{self.place.key}.{rank}" for rank in range(self.place.size)}
        end = time.monotonic() + seconds
        while missing := wanted - {path.name for path in self._address.parent.iterdir()}:
            if time.monotonic() > end:
                raise InputError(
                    f"rank {self.place.rank} of Slurm step {self.place.key}: after {seconds:.0f} s these files are "
                    f"not in {self._address.parent}: {', '.join(sorted(missing))}; is that folder shared by all "
                    f"nodes? Set {FOLDER} to one that is, and see the logs of the ranks that are missing"
                )
            time.sleep(0.1)
        found = json.loads(self._address.read_text())
        hosts = {(self._address.parent / name).read_text() for name in wanted - {self._address.name}}
        if found["address"].startswith("127.") and len(hosts) > 1:
            raise InputError(
                f"rank 0 knows itself only as {found['address']}, which the hosts {', '.join(sorted(hosts))} cannot "
                f"all reach; set {INTERFACE} to the name of their network interface (see: ip address)"
            )
        return found["address"], found["port"]

    def close(self) -> None:
        """End the server, which no rank needs after Horovod's shutdown; remove this task's files and variables.

        The next run of the same process then meets anew, instead of looking for this server.
        """
        for name in self.variables:
            os.environ.pop(name, None)
        self._signed.unlink(missing_ok=True)
        if self.server is not None:
            self._address.unlink(missing_ok=True)
            self.server.close()
            self.server = None


def meet() -> Meeting | None:
    """In a Slurm step of several tasks, set Horovod's variables; None where another launcher has set them already.

    Call before ``hvd.init``, and close the meeting after ``hvd.shutdown``.
    """
    if "HOROVOD_RANK" in os.environ or int(os.environ.get("SLURM_STEP_NUM_TASKS", "1")) < 2:
        return None
    meeting = meet_as(_HorovodServer)
    made = variables(meeting.place, *meeting.found)
    os.environ.update(made)
    meeting.variables = tuple(made)
    os.environ.setdefault("HOROVOD_GLOO_TIMEOUT_SECONDS", GLOO_SECONDS)
    return meeting


def meet_as(serve: Callable[[Place, str], Any]) -> Meeting:
    """Meet the other tasks of this Slurm step; ``serve(place, address)`` is rank 0's server (see ``Meeting.hold``)."""
    here = place(os.environ)
    here = replace(here, key=f"{here.key}.{next(_meetings)}")
    address = _own_address(os.environ.get(INTERFACE))
    meeting = Meeting(here, Path(os.environ.get(FOLDER) or Path.cwd() / ".astrossl-rendezvous"))
    try:
        meeting.found = meeting.hold(lambda: serve(here, address), address, START_SECONDS)
    except BaseException:
        meeting.close()
        raise
    return meeting


class _HorovodServer:
    """Horovod's rendezvous server on one address and a free port, in a thread."""

    def __init__(self, here: Place, address: str):
        from horovod.runner.common.util.hosts import SlotInfo
        from horovod.runner.http.http_server import RendezvousHandler, RendezvousHTTPServer

        self._server = RendezvousHTTPServer((address, 0), RendezvousHandler, 0)
        # The plan tells the server when a group of ranks has left, nothing else; other nodes clean up key by key.
        slot = {name: getattr(here, name) for name in SlotInfo.__dataclass_fields__ if name != "hostname"}
        self._server.init([SlotInfo(hostname=here.node, **slot)])
        self.port = self._server.server_address[1]
        self._thread = threading.Thread(target=self._server.serve_forever, name="rendezvous", daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


def _publish(path: Path, text: str) -> None:
    """Make a file appear whole."""
    partial = path.with_name(path.name + ".partial")
    partial.write_text(text)
    partial.replace(path)


def _own_address(interface: str | None) -> str:
    """This host's IPv4 address, on the interface when one is named; InputError when it cannot be told."""
    if interface is None:
        name = socket.gethostname()
        try:
            return socket.gethostbyname(name)
        except OSError as error:
            raise InputError(
                f"this node's own name, {name}, has no address ({error.strerror}), so that its ranks cannot meet; set "
                f"{INTERFACE} under environment of the cluster file to the network interface that joins the nodes; "
                f"there are {', '.join(name for _, name in socket.if_nameindex())}"
            ) from None
    import psutil  # comes with Horovod

    for entry in psutil.net_if_addrs().get(interface, ()):
        if entry.family == socket.AF_INET:
            return entry.address
    known = ", ".join(sorted(psutil.net_if_addrs()))
    raise InputError(f"{INTERFACE}={interface}: no such network interface with an IPv4 address here; there are {known}")
