"""The run folder on disk (docs/run-folder.md): its lock, its log, its metrics, and files that appear whole."""

import contextlib
import hashlib
import io
import json
import shutil
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import config, identity, locks, names, npz, provenance
from hpc_astrossl.errors import InputError, TrainingError
from hpc_astrossl.files import make_aside, sync, write_aside
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.training import events

FORMAT, VERSION = "astrossl-run", 1
NEEDED = {**dict.fromkeys(("run_id", "target"), str), **dict.fromkeys(("class_names", "bands"), list),
          **dict.fromkeys(("store", "metrics", "objects", "provenance", "weights"), dict)}  # fmt: skip
WEIGHTS = identity.WEIGHTS
AGAIN = "train it again (astrossl submit --remake makes again all that is out of date), or bring the old one back"
MOVE = "astrossl submit --remake sets it aside and makes it again, or move its folder away"
ANYWAY = f"{AGAIN}, or add --anyway to use the run as it is"
METRICS = "metrics.jsonl"
EVENTS = "events.out.tfevents.0.astrossl"  # TensorBoard looks for the first two words


def run_path(workdir: Path, experiment: str, run_id: str) -> Path:
    """Where a run lies below the work directory."""
    return workdir / "runs" / experiment / run_id


class RunFolder:
    """The folder of one run. Only rank 0 writes; ``say`` of another rank is silent."""

    def __init__(self, path: Path):
        self.path = path
        self.checkpoints = path / "checkpoint"
        self.writes = True
        self._lock = locks.Lock()

    def result(self) -> dict[str, Any] | None:
        """``result.json``, or None while the run is not done. InputError when it is damaged or of something else."""
        path = self.path / "result.json"
        try:
            found = json.loads(path.read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            return None
        except (OSError, ValueError, RecursionError) as error:
            raise InputError(f"{path}: damaged ({error}); remove it and train the run again") from None
        kind = found.get("format") if isinstance(found, dict) else type(found).__name__
        if kind != FORMAT:
            raise InputError(f"{path}: not of a run (format {kind!r}, expected {FORMAT!r})")
        if found.get("version") != VERSION:
            raise InputError(f"{path}: has version {found.get('version')!r}, this program reads version {VERSION}")
        return found

    def complete(self) -> dict[str, Any]:
        """``result.json`` with all that using the run needs; InputError when the run is not done, or it lacks that."""
        found = self.result()
        if found is None:
            raise InputError(f"{self.path}: not the folder of a finished run (there is no result.json in it)")
        lost = [key for key, kind in NEEDED.items() if not isinstance(found.get(key), kind)]
        if lost or "name" not in found["store"] or not isinstance(found.get("files", {}), dict):
            lacks = ", ".join(lost) or "the name of its store, or what its files are"
            raise InputError(f"{self.path / 'result.json'}: damaged: it lacks {lacks}")
        return found

    def spec(self, result: dict[str, Any]) -> RunSpec:
        """``config.yaml`` of the finished run; InputError when it is not the configuration that ``result`` is of."""
        path = self.path / "config.yaml"
        run = config.load(path, RunSpec)
        if (found := names.resolved(run).run_id) != result["run_id"]:
            raise InputError(
                f"{path}: was edited after the run: it describes run {found}, and the result beside it is of "
                f"{result['run_id']}; put it back as it was; for another run, give astrossl train a copy elsewhere"
            )
        return run

    def held(self, remedy: str | None) -> tuple[dict[str, Any], RunSpec]:
        """``complete`` and ``spec`` of a run that is used; InputError, ending with ``remedy``, when it is out of date.

        That is when its store, or the run whose weights it began from, is another now. With None it is used as it is.
        """
        result = self.complete()
        spec = self.spec(result)
        if remedy:
            self.hold(result, remedy)
        return result, spec

    def hold(self, result: dict[str, Any], remedy: str) -> None:
        """InputError, ending with ``remedy``, when the run is out of date; what is to be said beside is printed."""
        if note := identity.hold_run(self.path, result, remedy):
            print(note, file=sys.stderr, flush=True)

    def weights_digest(self) -> str | None:
        """SHA-256 of ``weights.safetensors`` as the finished run noted it; None where an earlier program did not."""
        return self.complete().get("files", {}).get(WEIGHTS)

    def finished(self) -> dict[str, Any] | None:
        """The same, for who would train it: of a run that is done no checkpoint stays, wherever its end was cut off.

        InputError when it is out of date: done means done from what lies there now.
        """
        result = self.result()
        if result is not None:
            if words := identity.misplaced(self.path.name, str(result.get("run_id", ""))):
                raise InputError(f"{self.path}: {words}; move it away, or give it its own name again")
            remedy = f"it is not trained again by itself: {MOVE}"
            if words := identity.replaced(self.path, identity.Made.of(result).own):
                raise InputError(f"{self.path}: {words}; bring it back; {remedy}")
            if note := identity.hold_run(self.path, result, remedy):
                print(note, file=sys.stderr, flush=True)
            shutil.rmtree(self.checkpoints, ignore_errors=True)
        return result

    @contextlib.contextmanager
    def locked(self, engine) -> Iterator[None]:
        """Keep every other process out for the time of the block; InputError, on all ranks, when one is in it."""
        self.writes = engine.rank == 0
        with contextlib.ExitStack() as stack:
            problem = None
            if self.writes:
                try:
                    self.path.mkdir(parents=True, exist_ok=True)
                    self._lock = stack.enter_context(locks.locked(self.path / ".lock", patience=0))
                except locks.Held as other:
                    problem = (
                        f"{self.path}: another process is training this run; wait for it, or end it first ({other})"
                    )
                except OSError as error:
                    problem = f"{self.path}: the run folder cannot be written ({error.strerror})"
            if problem := engine.gather(problem)[0]:
                raise InputError(problem)
            yield

    def check(self) -> None:
        """TrainingError when another process has taken the folder over, see ``locks``."""
        self._lock.check()

    def say(self, line: str) -> None:
        """Print a line and add it to ``log``."""
        if self.writes:
            print(line, flush=True)
            self.log(line)

    def log(self, line: str) -> None:
        """Add a line to ``log``; where that fails it is passed over, for it must not hide what it was to tell."""
        if self.writes:
            with contextlib.suppress(OSError), (self.path / "log").open("a", encoding="utf-8") as stream:
                stream.write(line + "\n")

    def write_config(self, run: RunSpec) -> None:
        """``config.yaml``: the resolved configuration."""
        self.write("config.yaml", config.dump(run).encode())

    def begin_metrics(self, records: list[dict[str, Any]]) -> None:
        """``metrics.jsonl`` as of a checkpoint: what was written after it will be written again."""
        self.write(METRICS, "".join(json.dumps(r) + "\n" for r in records).encode())
        now = time.time()
        self.write(EVENTS, events.opening(now) + b"".join(events.epoch(record, now) for record in records))

    def add_metrics(self, record: dict[str, Any]) -> None:
        """One more line of ``metrics.jsonl``, and the same for TensorBoard."""
        if self.writes:
            self.check()
            with _written(self.path / METRICS), (self.path / METRICS).open("a") as stream:
                stream.write(json.dumps(record) + "\n")
            with _written(self.path / EVENTS), (self.path / EVENTS).open("ab") as stream:
                stream.write(events.epoch(record, time.time()))

    def write_arrays(self, name: str, **arrays: np.ndarray) -> dict[str, str]:
        """A ``.npz`` that needs no pickle to be read; its name and SHA-256, where it was written."""
        if self.writes:
            buffer = io.BytesIO()
            np.savez_compressed(buffer, **arrays)
            self.write(name, buffer.getbuffer())
            return {name: hashlib.sha256(buffer.getbuffer()).hexdigest()}
        return {}

    def write_columns(self, name: str, columns: Mapping[str, npz.Column]) -> dict[str, str]:
        """The same of columns that come in parts, one of which is in memory at a time."""
        if not self.writes:
            return {}

        def fill(aside: Path) -> str:
            npz.write(aside, columns)
            sync(aside)
            return provenance.sha256(aside)

        self.check()
        with _written(self.path / name):
            return {name: make_aside(self.path / name, fill)}

    def write_result(self, result: dict[str, Any]) -> None:
        """``result.json``, the last file of a run; among the digests of its files stands one of what it says itself."""
        if self.writes:
            there = [name for name in (identity.CONFIG, METRICS) if (self.path / name).exists()]
            result["files"] |= {name: provenance.sha256(self.path / name) for name in there}
            result["files"][identity.RESULT] = identity.seal(result)
        self.write(identity.RESULT, (json.dumps(result, indent=1) + "\n").encode())

    def write(self, name: str, data: bytes | memoryview) -> None:
        """A file that appears whole; TrainingError when it cannot be written."""
        if self.writes:
            self.check()
            with _written(self.path / name):
                write_aside(self.path / name, data)


@contextlib.contextmanager
def _written(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise TrainingError(
            f"{path}: cannot be written ({error.strerror}); make room and run the same command again: it goes on from "
            "the last checkpoint"
        ) from None
