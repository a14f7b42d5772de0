"""The plain-language summary: sentences made from the numbers by the rules stated here.

- Schemes are compared by mean test accuracy at the largest training size of a set, with the paired test over seeds and
  objects of ``statistics.py``: "significantly" means p < 0.05 (for the best scheme of a set after Holm's correction).
  Without predictions there is no test, and the sentence says so.
- A best scheme that is not significantly above always naming the commonest class is said to be so; without a test, one
  that is within two standard deviations of it.
- Magnitudes and ImageNet are compared as frozen features and fine-tuned, where both were run.
- Label efficiency is told at the smallest training size whose accuracy is above the commonest class's, where the other
  scheme's curve reaches that accuracy.
- The paper is compared with only where the set is the paper's: agreement is a difference of at most two joint errors.
"""

import math

from hpc_astrossl.report.accuracy import tables as accuracy
from hpc_astrossl.report.accuracy.tables import spread_text
from hpc_astrossl.report.base import arrays, statistics
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.published import PRETEXT_MAE, TABLE_II, not_the_papers, paper_error
from hpc_astrossl.report.base.records import Study
from hpc_astrossl.report.base.statistics import above_majority, compare
from hpc_astrossl.report.base.tables import signed
from hpc_astrossl.report.low_data.efficiency import Equal
from hpc_astrossl.report.pretext import tables as pretext

_NAMED = 4  # run ids named in a sentence


def sentences(desk: Desk, equal: list[Equal]) -> list[str]:
    """The summary, a sentence or two an item, in reading order."""
    study, classes = desk.study, desk.classes
    said = [scope(study)]
    for set_ in c.sets_of(classes):
        said.append(best(desk, set_))
        said += transfer(desk, set_)
        said += [f"{sentence}." for sentence in efficiency([one for one in equal if one.set == set_])]
        said += beside_the_paper(desk, set_)
    said += [one for cell in desk.pretext.values() if (one := pretext_error(desk, cell))]
    said += controls(desk)
    said += collapsed(study) + failed(study) + skipped(study)
    said += other_sets(study)
    if desk.problems:
        said.append(
            f"{_count(len(desk.problems), 'folder or file', 'folders or files')} could not be used; see Problems."
        )
    return said


def scope(study: Study) -> str:
    """How much of the study is there."""
    done, open_runs = len(study.runs) - study.unplanned, len(study.unfinished)
    of = f" of {study.planned:,} planned" if study.planned is not None else ""
    rest = [f"{study.unplanned:,} more beside the plan"] if study.unplanned else []
    rest += [f"{open_runs:,} not finished"] if open_runs else []
    rest += [f"{len(study.skipped):,} skipped"] if study.skipped else []
    return (
        f"{_count(done, 'run', 'runs')}{of} {'is' if done == 1 else 'are'} done" + "".join(f", {r}" for r in rest) + "."
    )


def best(desk: Desk, set_: str) -> str:
    """Which scheme has the largest mean on a set, what it cannot be told from, and whether it beats the majority."""
    table, size = desk.classes, c.main_size(desk.classes, set_)
    split = "test" if c.best_scheme(table, set_, size, "test", "accuracy") else "validation"
    ranking = c.best_scheme(table, set_, size, split, "accuracy")
    if not ranking:
        return f"{set_}: no scheme has a finished run yet."
    scheme, top = ranking[0]
    reached = f"{split} accuracy, {spread_text(top)} (n = {top.n})."
    if len(ranking) > 1:
        said = f"{set_}: {scheme} has the highest {reached} {lead(desk, set_, size, split, ranking)}"
    else:
        said = f"{set_}: {scheme} is the only scheme with a finished run; {reached}"
    share = c.majority(table, set_, split)
    if share is None:
        return said
    cell = c.get(table, set_, scheme, size)
    if not accuracy.skilled(desk, cell, split):
        surely = "significantly" if desk.said(cell, split) else "clearly"
        return f"{said} That is not {surely} above always naming the commonest class ({share:.4f})."
    return f"{said} The majority share is {share:.4f}."


def lead(desk: Desk, set_: str, size: int | None, split: str, ranking: list[tuple]) -> str:
    """Whether the first of a ranking is significantly above all others, in words."""
    found = {scheme: said for scheme, said in desk.row(set_, size, split).items() if scheme in dict(ranking)}
    (_, top), (second, other) = ranking[:2]
    delta = top.mean - other.mean
    if len(found) < len(ranking):
        return f"It is {delta:.4f} above {second}; without predictions of all schemes there is no test of it."
    made = statistics.verdict(found, "accuracy")
    level = [name for name, _ in ranking if made and name in made.level_with]
    if not level:
        return f"It is significantly above every other scheme, {delta:.4f} above {second}."
    if len(level) == len(ranking) - 1:
        return "No other scheme can be told from it."
    return f"It cannot be told from {_and(level)}, and is significantly above the others."


def gap(desk: Desk, ours: Cell, theirs: Cell, name: str) -> str:
    """``0.0303 above ImageNet, significantly (p = 0.012, paired over …)``: one mean beside another in words."""
    first, second = (cell.spread("test", "accuracy") for cell in (ours, theirs))
    delta = first.mean - second.mean if first and second else 0.0
    side = f"{abs(delta):.4f} {'above' if delta > 0 else 'below'} {name}" if delta else f"level with {name}"
    said = [desk.said(cell, "test") for cell in (ours, theirs)]
    test = compare(*said, "accuracy") if all(said) else None
    if test is None:
        return f"{side} (no predictions to test it by)"
    return f"{side}, {'significantly' if test.significant else 'not significantly'} ({test.words})"


def transfer(desk: Desk, set_: str) -> list[str]:
    """Magnitudes against ImageNet, frozen and fine-tuned: the paper's question."""
    size, found = c.main_size(desk.classes, set_), []
    for kind, words in (("features", "frozen"), ("finetune", "fine-tuned")):
        ours, theirs = (c.get(desk.classes, set_, f"{kind}-{name}", size) for name in ("magnitudes", "imagenet"))
        if ours.spread("test", "accuracy") and theirs.spread("test", "accuracy"):
            found.append(f"{words}, {gap(desk, ours, theirs, 'ImageNet')}")
    return [f"{set_}: weights learnt from {desk.taught} are, {'; '.join(found)}."] if found else []


def efficiency(equal: list[Equal]) -> list[str]:
    """At the smallest size of each set: how many labels ImageNet needs for the accuracy of magnitudes."""
    found = []
    for set_ in dict.fromkeys(one.set for one in equal):
        pairs = [one for one in equal if one.set == set_ and one.other.endswith("imagenet")]
        smallest = min((one.labels for one in pairs), default=None)
        parts = [
            f"{one.scheme} with {one.labels:,} labels equals {one.other} with {one.words}"
            for one in pairs
            if one.labels == smallest
        ]
        found += [f"{set_}: {'; '.join(parts)}"] if parts else []
    return found


def beside_the_paper(desk: Desk, set_: str) -> list[str]:
    """How many schemes agree with Table II, where the set is the paper's."""
    size, agree, apart = c.main_size(desk.classes, set_), [], []
    for scheme in TABLE_II.get(set_, {}):
        cell, theirs = c.get(desk.classes, set_, scheme, size), desk.theirs(TABLE_II, set_, scheme)
        ours, error = cell.spread("validation", "accuracy"), accuracy.our_error(desk, cell)
        if theirs is None or ours is None or error is None or not_the_papers(set_, cell.runs[0].store):
            continue
        delta, joint = ours.mean - theirs[0], math.hypot(error, paper_error(set_, scheme))
        words = f"{scheme} ({signed(delta)}, {abs(delta) / joint:.1f} joint errors)"
        (agree if abs(delta) <= 2 * joint else apart).append(words)
    said = [f"agrees with the paper's validation accuracy: {', '.join(agree)}"] if agree else []
    said += (
        [f"differs from it: {', '.join(apart)}" if agree else f"differs from the paper: {', '.join(apart)}"]
        if apart
        else []
    )
    return [f"{set_} {'; '.join(said)}."] if said else []


def controls(desk: Desk) -> list[str]:
    """Each control whose runs do better than the majority."""
    found = []
    for cell in desk.controls.values():
        said = desk.said(cell, "test") if cell.runs else None
        test = above_majority(said) if said else None
        if test and test.significant and test.delta > 0:
            found.append(
                f"Control {cell.control} on {cell.set} with {cell.scheme} is {test.delta:.4f} above the majority "
                f"({test.words}); see Controls."
            )
    return found


def pretext_error(desk: Desk, cell: Cell) -> str:
    """The pretext error: of magnitudes in both scales, beside the paper's; of properties beside guessing."""
    scaled, test = cell.spread("test", "mae"), cell.spread("test", "mae_magnitudes")
    if scaled and cell.runs[0].target == "measured":
        found = desk.attempt(cell.runs[0], arrays.predictions)
        guess = pretext.median_guess(pretext.shown_split(found), cell.runs[0].bands) if found else None
        known = pretext.scaled_guess(guess) if guess else None
        beside = f"; always guessing the medians gives {known:.4f}" if known else ""
        return (
            f"Pretext ({cell.set}): measured properties are predicted with a mean absolute error of {scaled.mean:.4f} "
            f"of their ranges on test objects{beside}."
        )
    if not scaled or not test:
        return ""
    ratio = scaled.mean / PRETEXT_MAE
    return (
        f"Pretext ({cell.set}): magnitudes are predicted with a mean absolute error of {test.mean:.3f} mag on test "
        f"objects ({scaled.mean:.4f} of magnitudes/30, {ratio:.1f} times the paper's {PRETEXT_MAE})."
    )


def collapsed(study: Study) -> list[str]:
    """Runs that name one class for everything."""
    runs = [run.run_id for run in study.runs if run.collapsed]
    return [f"{_count(len(runs), 'run', 'runs')} collapsed to one class: {_some(runs)}."] if runs else []


def failed(study: Study) -> list[str]:
    """Runs whose loss is not finite."""
    runs = [run.run_id for run in study.runs if run.failed]
    return [f"{_count(len(runs), 'run', 'runs')} failed, the loss is not finite: {_some(runs)}."] if runs else []


def skipped(study: Study) -> list[str]:
    """What was skipped, by reason."""
    reasons: dict[str, list[str]] = {}
    for one in study.skipped:
        reasons.setdefault(one.state, []).append(one.scheme)
    return [
        f"{_count(len(schemes), 'run', 'runs')} {reason} ({', '.join(sorted(set(schemes)))})."
        for reason, schemes in reasons.items()
    ]


def other_sets(study: Study) -> list[str]:
    """Where a set bears the paper's name and is not the paper's, in one sentence."""
    found = sorted({words for run in study.runs if (words := not_the_papers(run.set, run.store))})
    return [f"Beside the paper's numbers stand other tasks: {'; '.join(found)}."] if found else []


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
