"""The plain-language summary: sentences made from the numbers by the rules stated here.

- A class that a scheme names in no run is told before anything else of that scheme.
- Schemes are ranked by mean test accuracy at the largest training size of a set, by balanced accuracy where classes are
  uneven (``judged.py``), with the paired test over seeds and objects of ``statistics.py``: "significantly" means
  p < 0.05 (for the leading scheme of a set after Holm's correction). Without predictions there is no test, and the
  sentence says so.
- A leading scheme that is not significantly above always naming the commonest class is said to be so; without a test,
  one that is within two standard deviations of it.
- Magnitudes and ImageNet are compared as frozen features and fine-tuned, where both were run.
- Label efficiency is told at the smallest training size whose accuracy is above the commonest class's, where the other
  scheme's curve reaches that accuracy.
- The paper is compared with only where the set is the paper's: agreement is a difference of at most two joint errors.
"""

from hpc_astrossl.report.accuracy import words
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.records import Study
from hpc_astrossl.report.base.statistics import above_majority
from hpc_astrossl.report.controls.section import verdict
from hpc_astrossl.report.low_data.efficiency import Equal, sentences_of
from hpc_astrossl.report.pretext.words import pretext_error

_NAMED = 4  # run ids named in a sentence


def sentences(desk: Desk, equal: list[Equal]) -> list[str]:
    """The summary, a sentence or two an item, in reading order."""
    study, classes = desk.study, desk.classes
    said = [scope(study)]
    for set_ in c.sets_of(classes):
        said += [*words.never(desk, set_), words.best(desk, set_), *words.weights(desk, set_)]
        said += words.transfer(desk, set_)
        said += [f"{sentence}." for sentence in sentences_of([one for one in equal if one.set == set_])]
        said += words.beside_the_paper(desk, set_)
    said += [one for cell in desk.pretext.values() if (one := pretext_error(desk, cell))]
    said += controls(desk)
    said += collapsed(study) + failed(study) + skipped(study)
    said += words.other_sets(desk)
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


def controls(desk: Desk) -> list[str]:
    """Each control whose runs do better than the majority."""
    found = []
    for cell in desk.controls.values():
        said = desk.said(cell, "test") if cell.runs else None
        test = above_majority(said) if said else None
        if verdict(cell.control, said)[1]:
            found.append(
                f"Control {cell.control} on {cell.set} with {cell.scheme} is {test.delta:.4f} above the majority "
                f"({test.words}); see Controls."
            )
    return found


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


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return ", ".join(names[:_NAMED]) + more


def _count(number: int, one: str, many: str) -> str:
    return f"{number:,} {one if number == 1 else many}"
