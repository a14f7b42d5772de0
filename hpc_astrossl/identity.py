"""What a result was made from: the SHA-256 of its store's manifest and of all weights it used, held against what lies
there now. No numpy, no Zarr: a login node compares them too.

What was made before identities were kept has none. It is used, marked with ``UNKNOWN``, and never certified.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from hpc_astrossl import cache, config, manifest, names, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.run import RunSpec

EDITED = "has a {} that was edited after the run"
REPLACED = "has a {} that is not the file which the run wrote"
MOST_HASHED = 50  # weights that are younger than their result, of which a look at an experiment reads so many
UNKNOWN = "made before identities were kept"
RUN = "run:"  # opens the name of weights that are another run's
WEIGHTS = "weights.safetensors"
OBJECTS = "objects.npz"  # of a run's folder: those it has seen
RESULT, CONFIG = "result.json", "config.yaml"
SEALED = ("run_id", "experiment", "set", "scheme", "seed", "train_size", "target", "control", "objects", "metrics",
          "class_names", "bands")  # fmt: skip
DIGITS = 12  # of a digest in a message


def of_store(path: Path) -> str | None:
    """SHA-256 of the store's manifest, which lists all its files with theirs; None where there is none."""
    return sha256(path / manifest.MANIFEST)


def of_before(provenance: Mapping[str, Any]) -> bool:
    """Whether a store, by its provenance, was made by a recipe before it kept what each of its shards was cut from."""
    return bool(provenance.get("digest")) and "shards" not in _mapping(provenance.get("inputs"))


def short(digest: str | None) -> str:
    """A digest as messages show it."""
    return "none" if digest is None else f"{digest[:DIGITS]}…"


def both(then: str | None, now: str | None) -> str:
    """Two digests that differ, for a message."""
    return f"SHA-256 {short(then)} then, {short(now)} now"


def seal(result: Mapping[str, Any]) -> str:
    """SHA-256 of what a ``result.json`` says of the run and of how good it is: a hand that edits it is noticed."""
    said = json.dumps({key: result.get(key) for key in SEALED}, sort_keys=True)
    return hashlib.sha256(said.encode()).hexdigest()


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a finished run was made from, by its ``result.json``; None where that was not kept.

    ``store`` is a path below the work directory, ``weights`` the name of the initial weights, ``own`` the SHA-256 of
    the weights that the run left. ``edited`` says, in words, what is not as the run has written it.
    """

    run: str
    store: str
    store_sha256: str | None
    weights: str | None
    weights_sha256: str | None
    own: str | None
    edited: str | None = None

    @classmethod
    def of(cls, result: Mapping[str, Any]) -> "Made":
        """From what a ``result.json`` holds, whatever an older program left out."""
        store, weights, files = (_mapping(result.get(key)) for key in ("store", "weights", "files"))
        return cls(
            run=str(result.get("run_id", "")),
            store=str(store.get("path", "")),
            store_sha256=_digest(store.get("sha256")),
            weights=weights["name"] if isinstance(weights.get("name"), str) else None,
            weights_sha256=_digest(weights.get("sha256")),
            own=_digest(files.get(WEIGHTS)),
            edited=None if files.get(RESULT) in (None, seal(result)) else EDITED.format(RESULT),
        )

    @property
    def known(self) -> bool:
        """Whether it tells all that it was made from."""
        return self.store_sha256 is not None and (self.weights is None or self.weights_sha256 is not None)


class Ground:
    """What lies in a work directory now; each store, result and file of weights is looked at once."""

    def __init__(self, workdir: Path, experiment: str):
        self.workdir, self.experiment = workdir, experiment
        self._stores: dict[str, str | None] = {}
        self._runs: dict[str, Made | None] = {}
        self._named: dict[str, str | None] = {}
        self._hashed = 0

    def store(self, path: str) -> str | None:
        """Identity of the store at ``path``, None where none lies there."""
        if path not in self._stores:
            self._stores[path] = of_store(self.workdir / path)
        return self._stores[path]

    def run(self, run_id: str) -> Made | None:
        """What a finished run of the experiment was made from, None where there is none that can be read."""
        if run_id not in self._runs:
            folder = self.workdir / "runs" / self.experiment / run_id
            made = read(folder)
            if made is not None and self._hashed < MOST_HASHED and _younger(folder):
                self._hashed += 1
                made = replace(made, edited=made.edited or replaced(folder, made.own))
            self._runs[run_id] = made
        return self._runs[run_id]

    def named(self, name: str) -> str | None:
        """SHA-256 of weights in the cache, None where they are not there."""
        if name not in self._named:
            try:
                self._named[name] = sha256(cache.found_weights(name) or cache.weights_file(name))
            except InputError:
                self._named[name] = None
        return self._named[name]

    def difference(self, made: Made, *, named: bool = False) -> str | None:
        """Why the run is not one of what lies here now, in words; None when it is, or that cannot be told.

        It cannot where the run did not keep what it was made from, or that does not lie here any more. With ``named``,
        weights of the cache are compared, too: they need not be the same on every machine.
        """
        if made.edited:
            return made.edited
        if made.store_sha256 and (there := self.store(made.store)) and there != made.store_sha256:
            return f"was trained on another store than lies at {made.store} ({both(made.store_sha256, there)})"
        if made.weights is None:
            return None
        if not made.weights.startswith(RUN):
            there = self.named(made.weights) if named else None
            return self._weights(made, f"weights {made.weights} have now", there)
        earlier = self.run(made.weights.removeprefix(RUN))
        if earlier is None or earlier.run == made.run:
            return None
        if other := self._weights(made, f"run {earlier.run} has now", earlier.own):
            return other
        reason = self.difference(earlier, named=named)
        return reason and f"began from run {earlier.run}, which {reason}"

    @staticmethod
    def _weights(made: Made, whose: str, there: str | None) -> str | None:
        if there is None or made.weights_sha256 in (None, there):
            return None
        return f"began from other weights than {whose} ({both(made.weights_sha256, there)})"


def misplaced(name: str, run_id: str) -> str | None:
    """Why the result of run ``run_id`` is not that of the run whose folder is called ``name``, in words."""
    return f"holds the result of run {run_id}: its folder was copied or renamed" if run_id not in ("", name) else None


def read(folder: Path) -> Made | None:
    """What the finished run in that folder was made from; None when there is none, or its result cannot be read."""
    result = _result(folder)
    if result is None:
        return None
    made, written = Made.of(result), _digest(_mapping(result.get("files")).get(CONFIG))
    if written and sha256(folder / CONFIG) != written and _other_run(folder / CONFIG, made.run):
        return replace(made, edited=EDITED.format(CONFIG))
    return made


def replaced(folder: Path, digest: str | None) -> str | None:
    """What is to be said of a run whose weights are not those that it left, None where they are, or are not there.

    Only weights that are younger than ``result.json``, the last file of a run, are read: by the time that they bear,
    or by that of their coming there, which no copy can set back.
    """
    if digest is None or not _younger(folder) or sha256(folder / WEIGHTS) == digest:
        return None
    return REPLACED.format(WEIGHTS)


def _younger(folder: Path) -> bool:
    try:
        weights, result = ((folder / name).stat() for name in (WEIGHTS, RESULT))
        return any(getattr(weights, time) > getattr(result, time) for time in ("st_mtime_ns", "st_ctime_ns"))
    except OSError:
        return False


def _other_run(path: Path, run_id: str) -> bool:
    """Whether the configuration there is not that of the run, or cannot be read; where and how fast may be edited."""
    try:
        return names.resolved(config.load(path, RunSpec)).run_id != run_id
    except InputError:
        return True


def file_digest(folder: Path, name: str) -> str | None:
    """SHA-256 of one of the files that a finished run left, as its result tells it; None where it does not."""
    return _digest(_mapping((_result(folder) or {}).get("files")).get(name))


def _result(folder: Path) -> Mapping[str, Any] | None:
    try:
        result = json.loads((folder / "result.json").read_bytes())
    except (OSError, ValueError, RecursionError):
        return None
    return result if isinstance(result, Mapping) else None


def hold_run(folder: Path, result: Mapping[str, Any], remedy: str) -> str | None:
    """InputError, ending with ``remedy``, when a run is used that is not one of what lies in its work directory now.

    Returns what there is to say beside: that it was made before identities were kept. A folder that lies in no work
    directory is held against nothing.
    """
    made, place = Made.of(result), folder.resolve()
    at_home = len(place.parents) > 2 and place.parents[1].name == "runs"
    reason = Ground(place.parents[2], place.parent.name).difference(made) if at_home else None
    if reason := reason or made.edited:
        raise InputError(f"{folder}: {reason}; {remedy}")
    return None if made.known else f"{folder}: {UNKNOWN}; what it was trained on cannot be held against anything"


def hold_embedding(about: Mapping[str, Any], where: str, store: Path | None, *, anyway: bool = False) -> str | None:
    """InputError when the store, or the run, that an embedding is of is another now; ``where`` names the embedding.

    ``store`` is where its cutouts are to come from. Returns what there is to say beside.
    """
    kept = about.get("store_sha256", about.get("contents"))  # the older name
    remedy = "make it again with astrossl embed, bring the old one back, or add --anyway"
    now = of_store(store) if store is not None else None
    if kept and now and kept != now and not anyway:
        raise InputError(f"{where}: was made of another store than lies at {store} ({both(kept, now)}); {remedy}")
    folder, weights = about.get("run_folder"), about.get("weights_sha256")
    run = read(Path(folder)) if folder else None
    if run and run.own and weights and run.own != weights and not anyway:
        raise InputError(
            f"{where}: was made by other weights than run {folder} has ({both(weights, run.own)}); {remedy}"
        )
    return None if weights else f"{where}: {UNKNOWN}; the weights it was made by cannot be held against anything"


def sha256(path: Path) -> str | None:
    """A file's SHA-256, None where it cannot be read."""
    try:
        return provenance.sha256(path)
    except OSError:
        return None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _digest(value: Any) -> str | None:
    return value if isinstance(value, str) and value else None
