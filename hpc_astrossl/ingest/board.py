"""Questions that the task which selects puts to the tasks that wait for it: whether cutouts of twins can be used.

They hang in its workspace, a file each. Whoever is free claims one and leaves the answer beside it. Nobody is relied
on: the task that selects answers what nobody has claimed, and then what was claimed but is not yet answered, one after
the other, while answers come in. Who answers makes no difference to them.
"""

import contextlib
import glob
import json
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from hpc_astrossl.errors import InputError
from hpc_astrossl.files import PARTIAL, aside_of, write_aside
from hpc_astrossl.ingest.looks import Question, look
from hpc_astrossl.objects import Objects
from hpc_astrossl.specs.recipe import Recipe

FEW = 4  # questions that are not worth a file each
PAUSE = 1.0  # seconds between two looks at a board that had nothing to do
_FOLDER, _COLUMN = "questions", "column "
_COLUMNS = ("object_id", "field", "ra", "dec", "x", "y")


def workspace(store: Path) -> Path:
    """The name that workspaces of a selection begin with, by the store (without suffix) that it is made for."""
    return store.with_name(f"{store.name}.selection")


class Board:
    """Where the task that selects hangs its questions up, below its workspace, and answers them by so many threads."""

    def __init__(self, space: Path, key: str, threads: int):
        self._folder, self._key, self._threads, self._asked = space / _FOLDER, key, threads, 0

    def answers(self, questions: list[Question], look: Callable[[Question], list[str]]) -> list[list[str]]:
        """The answers to all, of this task by ``look`` and of others, in order."""
        if len(questions) < FEW:
            return [look(question) for question in questions]
        self._folder.mkdir(parents=True, exist_ok=True)
        files = [self._folder / f"{self._asked + number:06d}.npz" for number in range(len(questions))]
        self._asked += len(files)
        for file, question in zip(files, questions, strict=True):
            aside = aside_of(file)
            _write(aside, question, self._key)
            aside.replace(file)
        with ThreadPoolExecutor(self._threads) as pool:
            found = list(pool.map(lambda file, question: look(question) if _claim(file) else None, files, questions))
        for number, file in enumerate(files):
            if found[number] is None:
                found[number] = _answer(file, questions[number]) or look(questions[number])
        return found


class Helper:
    """Answers questions of a task that makes the selection for ``store`` (a path without suffix), a question at a call,
    until one cannot be answered here; those of another recipe or other tables are not touched."""

    def __init__(self, recipe: Recipe, source: Path, store: Path, key: str):
        self._place, self._key, self._able = (recipe, source), key, True
        self._pattern = f".{glob.escape(workspace(store).name)}.*{PARTIAL}/{_FOLDER}/*.npz"
        self._out, self._seen, self._next = store.parent, set(), 0.0

    def help(self) -> None:
        """Answer the next question, if there is one; the last first, since the task that asks begins in front."""
        if not self._able or time.monotonic() < self._next:
            return
        for file in sorted(set(self._out.glob(self._pattern)) - self._seen, reverse=True):
            self._seen.add(file)
            if _claim(file):
                with contextlib.suppress(OSError):  # a selection that has ended takes its board with it
                    self._reply(file)
                return
        self._next = time.monotonic() + PAUSE

    def _reply(self, file: Path) -> None:
        try:
            question, key = _read(file)
            if key == self._key:
                reasons = look(*self._place, question)
                write_aside(file.with_suffix(".json"), json.dumps(reasons).encode())
        except (InputError, ValueError, KeyError):  # the task that selects finds it out itself, and says so
            self._able = False


def _claim(file: Path) -> bool:
    """Whether the question is ours to answer."""
    try:
        file.with_suffix(".claimed").open("xb").close()
    except OSError:
        return False
    return True


def _answer(file: Path, question: Question) -> list[str] | None:
    try:
        found = json.loads(file.with_suffix(".json").read_bytes())
    except (OSError, ValueError):
        return None
    return found if isinstance(found, list) and len(found) == len(question.objects) else None


def _write(file: Path, question: Question, key: str) -> None:
    objects = question.objects
    columns = {name: np.asarray(getattr(objects, name)) for name in _COLUMNS}
    columns |= {_COLUMN + name: np.asarray(values) for name, values in objects.columns.items()}
    with file.open("wb") as stream:
        np.savez(stream, images=question.images, key=key, **{name: _plain(values) for name, values in columns.items()})


def _plain(values: np.ndarray) -> np.ndarray:
    return values.astype(str) if values.dtype.kind not in "biuf" else values


def _read(file: Path) -> tuple[Question, str]:
    with np.load(file, allow_pickle=False) as found:
        values = {name: found[name] for name in found.files}
    count = len(values["object_id"])
    unknown, none = np.full(count, np.nan), np.empty((count, 0))
    columns = {name.removeprefix(_COLUMN): one for name, one in values.items() if name.startswith(_COLUMN)}
    objects = Objects(**{name: values[name] for name in _COLUMNS}, flag=None, magnitudes=none, errors=none,
                      reference=unknown, columns=columns)  # fmt: skip
    return Question(images=str(values["images"]), objects=objects), str(values["key"])
