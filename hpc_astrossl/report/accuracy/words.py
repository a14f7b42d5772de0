"""What the summary and the sections say of a set's schemes, in sentences made from the numbers."""

import math

from hpc_astrossl.report.base import by_class, judged, statistics
from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.cells import Cell, spread_text
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.published import (
    MAGNITUDES,
    PRETEXT_OBJECTS,
    PRETEXT_SURVEY,
    TABLE_II,
    not_the_papers,
    paper_error,
)
from hpc_astrossl.report.base.statistics import compare
from hpc_astrossl.report.base.tables import signed
from hpc_astrossl.report.study import inventory

_CLASSES_NAMED = 6  # more are told of by the least complete alone


def never(desk: Desk, set_: str) -> list[str]:
    """The classes that a scheme names in no seed, at the set's largest size: what is said of that scheme first."""
    size, found = c.main_size(desk.classes, set_), []
    for scheme, said in desk.row(set_, size, "test").items():
        names = c.get(desk.classes, set_, scheme, size).runs[0].class_names
        missed = [f"{names[k]} ({_objects(int((said.truth == k).sum()))})" for k in by_class.never_named(said)]
        seeds = "its only run" if len(said.seeds) == 1 else f"any of its {len(said.seeds)} runs"
        found += [f"{set_}: {scheme} never names {_and(missed)} in {seeds}."] if missed else []
    return found


def weights(desk: Desk, set_: str) -> list[str]:
    """Where classes are uneven and no run weighs them: that it can be done, and by which key."""
    runs = [run for key, cell in desk.classes.items() if key[0] == set_ for run in cell.runs]
    counts = judged.class_counts(desk, set_)
    if counts is None or not judged.uneven(desk, set_) or any(inventory.class_weights(run) for run in runs):
        return []
    there = counts[counts > 0]
    return [
        f"{set_}: classes are uneven, {there.min():,} to {there.max():,} test objects, so balanced accuracy leads; "
        "data.class_weights: inverse lets rare classes weigh as much as common ones."
    ]


def best(desk: Desk, set_: str) -> str:
    """Which scheme leads on a set, what is not significantly below it, and whether it beats the majority."""
    found = judged.ranking(desk, set_)
    if found is None:
        return f"{set_}: no scheme has a finished run yet."
    (scheme, top), split = found.schemes[0], found.split
    reached = f"{found.measure}, {spread_text(top)} (n = {top.n})."
    if len(found.schemes) > 1:
        said = f"{set_}: {scheme} has the highest {reached} {lead(desk, set_, found)}"
    else:
        said = f"{set_}: {scheme} is the only scheme with a finished run; {reached}"
    cell = c.get(desk.classes, set_, scheme, c.main_size(desk.classes, set_))
    said = " ".join(filter(None, (said, by_class_words(desk, cell))))
    share = c.majority(desk.classes, set_, split)
    if share is None:
        return said
    accuracy = cell.spread(split, "accuracy")
    if not judged.skilled(desk, cell, split):
        surely = "significantly" if desk.said(cell, split) else "clearly"
        its = f"Its accuracy, {spread_text(accuracy)}, is" if accuracy and found.metric != "accuracy" else "That is"
        return f"{said} {its} not {surely} above always naming the commonest class ({share:.4f})."
    return f"{said} The majority share is {share:.4f}."


def by_class_words(desk: Desk, cell: Cell) -> str:
    """Completeness and purity of each class on test objects; of many classes, of the least complete alone."""
    said, names = desk.said(cell, "test"), cell.runs[0].class_names
    found = [one for one in by_class.measures(said) if one.completeness] if said else []
    if not found:
        return ""
    words = [
        f"{names[one.number]} {one.completeness.share:.4f} and "
        f"{f'{one.purity.share:.4f}' if one.purity else 'none named'}"
        for one in found
    ]
    if len(found) > _CLASSES_NAMED:
        place = min(range(len(found)), key=lambda index: found[index].completeness.share)
        return f"Completeness and purity are lowest for {words[place]}."
    return f"Completeness and purity by class: {'; '.join(words)}."


def lead(desk: Desk, set_: str, ranking: judged.Ranking) -> str:
    """Whether the first of a ranking is significantly above all others, in words."""
    size, order = c.main_size(desk.classes, set_), ranking.schemes
    found = {scheme: said for scheme, said in desk.row(set_, size, ranking.split).items() if scheme in dict(order)}
    (_, top), (second, other) = order[:2]
    delta = top.mean - other.mean
    if len(found) < len(order):
        beside = f"{delta:.4f} above" if f"{delta:.4f}" != "0.0000" else "level with"
        return f"It is {beside} {second}; without predictions of all schemes there is no test of it."
    made = statistics.verdict(found, ranking.metric)
    names = [name for name, _ in order[1:]]
    behind = [name for name in names if made and name in made.behind]
    level = [name for name in names if name not in behind]
    same = [name for name, spread in order[1:] if f"{spread.mean:.4f}" == f"{top.mean:.4f}"]
    reach = f"{_and(same)} {'reaches' if len(same) == 1 else 'reach'} the same. " if same else ""
    if len(order) == 2 and behind:
        return f"{second} is significantly below it, by {delta:.4f}."
    if not level:
        return f"Every other scheme is significantly below it, the next, {second}, by {delta:.4f}."
    if not behind:
        return f"{reach}No other scheme is significantly below it."
    if len(behind) <= len(level):
        return f"{reach}Of the others only {_and(behind)} {'is' if len(behind) == 1 else 'are'} significantly below it."
    return f"{reach}All others are significantly below it, except {_and(level)}."


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


def beside_the_paper(desk: Desk, set_: str) -> list[str]:
    """How many schemes agree with Table II, where the set is the paper's."""
    size, agree, apart = c.main_size(desk.classes, set_), [], []
    for scheme in TABLE_II.get(set_, {}) if desk.whole(set_, size) else ():
        cell, theirs = c.get(desk.classes, set_, scheme, size), desk.theirs(TABLE_II, set_, scheme)
        ours, error = cell.spread("validation", "accuracy"), judged.our_error(desk, cell)
        if theirs is None or ours is None or error is None:
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


def other_sets(desk: Desk) -> list[str]:
    """What is not held against the paper though it bears a name of the paper's, and why, in one sentence."""
    runs = [run for cell in desk.classes.values() for run in cell.runs]
    reasons = (not_the_papers(run.set, run.store, len(run.class_names)) for run in runs)
    found = sorted(set(filter(None, reasons)))
    papers = [set_ for set_ in c.sets_of(desk.classes) if desk.papers(set_)]
    found += [f"{set_} at {size:,} labels, the paper's Table II is of all" for set_ in papers
              if not desk.whole(set_, size := c.main_size(desk.classes, set_))]  # fmt: skip
    schemes = [scheme for scheme in c.schemes_of(desk.classes) if scheme in MAGNITUDES]
    if papers and schemes and not desk.taught_as_the_paper:
        objects = f"{PRETEXT_OBJECTS:,} objects of {PRETEXT_SURVEY}"
        found.append(f"{_and(schemes)}, whose weights were not learnt from the magnitudes of {objects}")
    return [f"Not compared with the paper: {'; '.join(found)}."] if found else []


def _objects(count: int) -> str:
    return f"{count:,} test object{'' if count == 1 else 's'}"


def _and(names: list[str]) -> str:
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"
