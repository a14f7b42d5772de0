"""Which pairs of a plan are still to be looked at for shared objects: what was compared once is noted, by contents.

JSON only. The comparing itself takes numpy and Zarr (``training.leakage``), and half of the time in which a thousand
runs are submitted.
"""

import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from hpc_astrossl import cache, identity
from hpc_astrossl.files import write_aside
from hpc_astrossl.launch.ledger import Ledger
from hpc_astrossl.specs.run import RunSpec


@dataclass(frozen=True, kw_only=True)
class Pair:
    """What a run goes back to by its weights, another run or weights that were exported from one (their name), and a
    run on the store to compare with; ``contents`` names what is compared by its SHA-256, None: not known."""

    earlier: RunSpec | str
    run: RunSpec
    contents: str | None


def pairs(runs: Iterable[RunSpec], workdir: Path, left: Collection[str], stores: Collection[str]) -> list[Pair]:
    """A pair for each two stores that lie there, of the runs ``left`` to train; ``stores`` are to be made first."""
    known, found = {run.run_id: run for run in runs}, {}
    for run in (run for name, run in known.items() if name in left):
        for earlier in _before(run, known):
            both = (earlier.run_id, run.data.store)
            if both not in found and not {earlier.data.store, run.data.store} & {*stores}:
                found[both] = _pair(earlier, run, workdir)
        both = (run.weights, run.data.store)
        if both not in found and run.data.store not in stores:
            found[both] = _named_pair(run, workdir)
    return [pair for pair in found.values() if pair is not None]


def _before(run: RunSpec, known: Mapping[str, RunSpec]) -> Iterator[RunSpec]:
    """The planned runs that a run's weights go back to."""
    while run.weights and run.weights.startswith(identity.RUN):
        run = known.get(run.weights.removeprefix(identity.RUN))
        if run is None:
            return
        yield run


def _pair(earlier: RunSpec, run: RunSpec, workdir: Path) -> Pair | None:
    """None where a store has no list of its objects: what cannot be read is told of by who is to train on it."""
    if not all(_listed(workdir, one) for one in (earlier, run)):
        return None
    folder = workdir / "runs" / earlier.experiment / earlier.run_id
    saw = identity.file_digest(folder, identity.OBJECTS) or identity.of_store(workdir / earlier.data.store)
    labelled = identity.of_store(workdir / run.data.store)
    return Pair(earlier=earlier, run=run, contents=_contents(saw, labelled))


def _named_pair(run: RunSpec, workdir: Path) -> Pair | None:
    """None where the weights were not exported from a run, or the store has no list of its objects."""
    if run.weights is None or run.weights.startswith(identity.RUN) or not _listed(workdir, run):
        return None
    path = cache.found_weights(run.weights)
    saw = path and identity.sha256(cache.seen_file(path))
    return saw and Pair(
        earlier=run.weights, run=run, contents=_contents(saw, identity.of_store(workdir / run.data.store))
    )


def _listed(workdir: Path, run: RunSpec) -> bool:
    return (workdir / run.data.store / "object_id" / "zarr.json").is_file()


def _contents(saw: str | None, labelled: str | None) -> str | None:
    return f"{saw} {labelled}" if saw and labelled else None


class Compared:
    """What was compared before, and shared nothing: ``.tasks/compared.json`` of the experiment."""

    def __init__(self, ledger: Ledger):
        self._file = ledger.folder / "compared.json"
        try:
            found = json.loads(self._file.read_bytes())
        except (OSError, ValueError, RecursionError):
            found = []
        self._known = {one for one in found if isinstance(one, str)} if isinstance(found, list) else set()

    def open(self, some: Iterable[Pair]) -> list[Pair]:
        """Those that have not been compared."""
        return [pair for pair in some if pair.contents is None or pair.contents not in self._known]

    def note(self, some: Iterable[Pair]) -> None:
        """Keep that these share nothing."""
        new = {pair.contents for pair in some if pair.contents is not None} - self._known
        if new:
            self._known |= new
            write_aside(self._file, (json.dumps(sorted(self._known), indent=1) + "\n").encode())
