"""The plain-language summary: sentences made from the numbers by the rules stated here.

- Schemes are compared by mean test accuracy at the largest training size of a set.
- One mean is "clearly" above another beyond twice their joint standard deviation over seeds (the root of the sum of
  squares), "by little" beyond once, else "within the seeds' spread"; with one seed nothing is said about it.
- A set on which the best scheme is not above the majority share by twice its own standard deviation shows no skill.
- Magnitudes and ImageNet are compared as frozen features and fine-tuned, where both were run.
"""

import math

from hpc_astrossl.report import cells as c
from hpc_astrossl.report.accuracy import spread_text
from hpc_astrossl.report.cells import Key, Spread
from hpc_astrossl.report.published import PRETEXT_MAE, not_the_papers
from hpc_astrossl.report.records import Study

_NAMED = 4  # run ids named in a sentence


def sentences(study: Study, classes: dict[Key, c.Cell], pretext: dict[Key, c.Cell]) -> list[str]:
    """The summary, a sentence or two an item, in reading order."""
    said = [scope(study)]
    for set_ in c.sets_of(classes):
        said.append(best(classes, set_))
        said += transfer(classes, set_)
    said += [one for cell in pretext.values() if (one := pretext_error(cell))]
    said += collapsed(study) + failed(study) + skipped(study)
    said += other_sets(study)
    if study.problems:
        said.append(
            f"{_count(len(study.problems), 'folder or file', 'folders or files')} could not be used; see Problems."
        )
    return said


def scope(study: Study) -> str:
    """How much of the study is there."""
    done, open_runs = len(study.runs), len(study.unfinished)
    of = f" of {study.planned:,} planned" if study.planned is not None else ""
    rest = [f"{open_runs:,} not finished"] if open_runs else []
    rest += [f"{len(study.skipped):,} skipped"] if study.skipped else []
    return (
        f"{_count(done, 'run', 'runs')}{of} {'is' if done == 1 else 'are'} done" + "".join(f", {r}" for r in rest) + "."
    )


def best(table: dict[Key, c.Cell], set_: str) -> str:
    """Which scheme has the largest mean on a set, by how much, against the spread and against no skill."""
    size = c.main_size(table, set_)
    split = "test"
    ranking = c.best_scheme(table, set_, size, split, "accuracy")
    if not ranking:
        split = "validation"
        ranking = c.best_scheme(table, set_, size, split, "accuracy")
    if not ranking:
        return f"{set_}: no scheme has a finished run yet."
    (scheme, top), *rest = ranking
    said = f"{set_}: {scheme} has the highest {split} accuracy, {spread_text(top)} (n = {top.n})."
    if rest:
        said += f" It is {gap(top, *reversed(rest[0]))}."
    share = c.majority(table, set_, split)
    if share is None:
        return said
    no_skill = top.mean - share <= 2 * (top.std or 0)
    return f"{said} {'That is no skill: the' if no_skill else 'The'} majority share is {share:.4f}."


def gap(top: Spread, other: Spread, name: str) -> str:
    """``0.0303 above scratch, clearly (joint std 0.0033, n = 3)``: one mean beside another in words."""
    delta = top.mean - other.mean
    if delta == 0:
        return f"level with {name} (n = {min(top.n, other.n)})"
    said = f"{abs(delta):.4f} {'above' if delta >= 0 else 'below'} {name}"
    if top.std is None or other.std is None:
        return f"{said} (one seed: no spread to judge it by)"
    joint = math.hypot(top.std, other.std)
    clear = "clearly" if abs(delta) > 2 * joint else "by little" if abs(delta) > joint else "within the seeds' spread"
    return f"{said}, {clear} (joint std {joint:.4f}, n = {min(top.n, other.n)})"


def transfer(table: dict[Key, c.Cell], set_: str) -> list[str]:
    """Magnitudes against ImageNet, frozen and fine-tuned: the paper's question."""
    size, found = c.main_size(table, set_), []
    for kind, words in (("features", "frozen"), ("finetune", "fine-tuned")):
        ours = c.get(table, set_, f"{kind}-magnitudes", size).spread("test", "accuracy")
        theirs = c.get(table, set_, f"{kind}-imagenet", size).spread("test", "accuracy")
        if ours and theirs:
            found.append(f"{words}, {gap(ours, theirs, 'ImageNet')}")
    return [f"{set_}: weights learnt from magnitudes are, {'; '.join(found)}."] if found else []


def pretext_error(cell: c.Cell) -> str:
    """The pretext error in both scales, beside the paper's."""
    scaled, test = cell.spread("test", "mae"), cell.spread("test", "mae_magnitudes")
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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
