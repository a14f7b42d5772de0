"""What the makers of sections share: the study, its cells, what its runs said, and a list for what went wrong."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell, Key
from hpc_astrossl.report.base.drawing import Drawing, files_of, keep, style
from hpc_astrossl.report.base.kept import Kept, digest
from hpc_astrossl.report.base.outcomes import Outcome, outcomes
from hpc_astrossl.report.base.published import MAGNITUDES, papers_pretext, papers_set
from hpc_astrossl.report.base.records import Problem, Run, Study
from hpc_astrossl.report.base.tables import Table


@dataclass(kw_only=True)
class Section:
    """A part of the page. ``notes`` are sentences; ``cards`` cutouts as (title, file's stem, [(data URI, Example)])."""

    anchor: str
    title: str
    lead: str = ""
    tables: list[Table] = field(default_factory=list)
    folded: list[Table] = field(default_factory=list)
    drawings: list[Drawing] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    cards: list[tuple[str, str, list[tuple]]] = field(default_factory=list)
    curves: list[dict[str, Any]] = field(default_factory=list)  # of every run, drawn by the page on demand


@dataclass(frozen=True, kw_only=True)
class Desk:
    """``classes``, ``pretext`` and ``controls``: cells by (set, scheme, size); ``out``: the folder of the report."""

    study: Study
    classes: dict[Key, Cell]
    pretext: dict[Key, Cell]
    controls: dict[Key, Cell]
    out: Path
    projection: str
    problems: list[Problem]
    drawn: list[str] = field(default_factory=list)  # names of the figures of this report
    _said: dict[tuple, dict[str, Outcome]] = field(default_factory=dict)

    @property
    def kept(self) -> Kept:
        """What earlier reports left in the folder of this one."""
        return Kept(folder=self.out / ".kept")

    @classmethod
    def of(cls, study: Study, out: Path, projection: str = "tsne") -> "Desk":
        """The desk of a study; cells of controls stand apart from the others."""
        everything = c.cells(study)
        controls = {key: cell for key, cell in everything.items() if cell.control}
        return cls(
            study=study,
            classes={key: cell for key, cell in everything.items() if key not in controls},
            pretext=c.cells(study, pretext=True),
            controls=controls,
            out=out,
            projection=projection,
            problems=list(study.problems),
        )

    def attempt(self, run: Run, read: Callable, *more: Any) -> Any:
        """``read(run, …)``, or None with the reason among the problems."""
        try:
            return read(run, *more)
        except InputError as error:
            problem = Problem(name=run.run_id, reason=str(error))
            if problem not in self.problems:
                self.problems.append(problem)
            return None

    @property
    def teachers(self) -> list[Run]:
        """The pretext runs that the schemes ``*-magnitudes`` begin with."""
        runs = [run for cell in self.pretext.values() for run in cell.runs if run.target in ("magnitudes", "measured")]
        return [run for run in runs if run.set in ("pretext", "magnitudes")] or runs  # others: schemes of their names

    @property
    def taught(self) -> str:
        """What they learnt, in words."""
        measured = any(run.target == "measured" for run in self.teachers)
        return "measured properties" if measured else "magnitudes"

    @property
    def taught_as_the_paper(self) -> bool:
        """Whether the pretext runs are there, and learnt magnitudes from the paper's objects."""
        return bool(self.teachers) and all(papers_pretext(run) for run in self.teachers)

    def theirs(self, table: Mapping[str, Mapping[str, Any]], set_: str, scheme: str) -> Any:
        """The paper's entry in its TABLE_II or TABLE_III, where the set is the paper's; else None, as for the schemes
        ``*-magnitudes`` whose weights were not learnt from the magnitudes of the paper's objects.
        """
        if not self.papers(set_) or (scheme in MAGNITUDES and not self.taught_as_the_paper):
            return None
        return table.get(set_, {}).get(scheme)

    def whole(self, set_: str, size: int | None) -> bool:
        """Whether that training size of a set is all of its training split, as in the paper's Table II."""
        if size is None:
            return True
        runs = [run for key, cell in self.classes.items() if key[0] == set_ for run in cell.runs]
        there = [(run.store.counts.get("splits") or {}).get("train") for run in runs]
        return bool(there) and all(isinstance(one, int) and size >= one for one in there)

    def papers(self, set_: str) -> bool:
        """Whether all runs of a set are of the paper's set of that name: survey, objects and classes are the same."""
        return papers_set(set_, [run for key, cell in self.classes.items() if key[0] == set_ for run in cell.runs])

    def said(self, cell: Cell, split: str) -> Outcome | None:
        """What the cell's runs said of a split's objects; read once."""
        key = (cell.set, cell.scheme, cell.size)
        if key not in self._said:
            self._said[key] = outcomes(cell, self.attempt)
        return self._said[key].get(split)

    def row(self, set_: str, size: int | None, split: str) -> dict[str, Outcome]:
        """By scheme, what was said of a set's split at a training size; schemes without predictions are not there."""
        found = {name: self.said(c.get(self.classes, set_, name, size), split) for name in c.schemes_of(self.classes)}
        return {name: outcome for name, outcome in found.items() if outcome is not None}

    def draw(self, name: str, make: Callable[..., Figure], *data: Any, title: str, caption: str = "") -> Drawing:
        """``make(*data)`` in our style as ``figures/<name>``; an earlier report's, if it was made of the same data."""
        self.drawn.append(name)
        key = digest(make, *data, title)
        found = self.kept.get(name, key) if files_of(self.out / "figures", name) else None
        if found is None:
            with style(name):
                found = keep(make(*data), self.out / "figures", name, title=title)
            self.kept.put(name, key, found)
        return Drawing(name=name, title=title, caption=caption, svg=found["svg"], wide=found["wide"])
