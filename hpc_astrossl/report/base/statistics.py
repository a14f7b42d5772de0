"""Is one mean above another? Paired tests over seeds and objects, and intervals over objects.

Every measure is written as the mean over objects of a share x[s, i] of seed s and object i. Runs of two schemes with
the same seed saw the same training objects, and all are measured on the same objects, so differences are taken seed by
seed and object by object. The mean difference then has two sources of error, few seeds and few objects, that add:

    variance = var_s(mean over i) / S + var_i(mean over s) / N

(what seeds and objects do together is counted in both: a little too wide, never too narrow). The test is Student's t
with Welch and Satterthwaite's degrees of freedom. With one seed there is only the second term, and the words say so.
"""

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
from scipy import stats

from hpc_astrossl.report.base.outcomes import Outcome

LEVEL = 0.05
Z = float(stats.norm.ppf(0.975))  # of the 95% intervals
FEW = 5  # right or wrong objects, below which the scatter among objects is no measure of their error


def shares(metric: str, truth: np.ndarray, said: np.ndarray, classes: int) -> np.ndarray:
    """Each object's share of a metric, (N,) float64, whose mean is the metric.

    Exact for accuracy and, given the numbers of each true class, for balanced accuracy; macro F1, a ratio, is
    linearised (its influence function). Classes as ``targets.classes`` counts them: those that occur.
    """
    right = (truth == said).astype(np.float64)
    if metric == "accuracy":
        return right
    true, claimed = (np.bincount(x, minlength=classes).astype(np.float64) for x in (truth, said))
    if metric == "balanced_accuracy":
        return right * len(truth) / ((true > 0).sum() * true[truth])
    if metric != "macro_f1":
        raise ValueError(f"no metric {metric!r}")
    total = true + claimed
    named = total > 0
    f1 = np.divide(2 * np.bincount(truth, right, minlength=classes), total, out=np.zeros(classes), where=named)
    slope = np.divide(1, total, out=np.zeros(classes), where=named) * len(truth) / named.sum()
    change = 2 * right * slope[truth] - f1[truth] * slope[truth] - f1[said] * slope[said]
    return f1[named].mean() + change


def share_matrix(outcome: Outcome, metric: str, seeds: list[int] | None = None) -> np.ndarray:
    """``shares`` of every seed, or of those given, (S, N)."""
    said = outcome.said if seeds is None else outcome.of_seeds(seeds)
    return np.array([shares(metric, outcome.truth, one, outcome.classes) for one in said])


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """A mean difference, its standard error, the two-sided p, and the seeds and objects it rests on."""

    delta: float
    error: float
    p: float
    seeds: int
    objects: int

    @property
    def significant(self) -> bool:
        """Whether p is below the level."""
        return self.p < LEVEL

    @property
    def words(self) -> str:
        """``p = 0.012, paired over 3 seeds and 1,200 objects``."""
        p = "p < 0.001" if self.p < 0.001 else f"p = {self.p:.3f}" if self.p < 0.1 else f"p = {self.p:.2f}"
        seeds = f"{self.seeds} seeds" if self.seeds > 1 else "one seed"
        return f"{p}, paired over {seeds} and {self.objects:,} objects"


def standard_error(values: np.ndarray, least: float = 0.0) -> tuple[float, float]:
    """(standard error, degrees of freedom) of the mean of ``values`` (S seeds × N objects); see the module's text.

    ``least``: the error from few objects alone is at least this.
    """
    seeds, objects = values.shape
    terms = []
    if objects > 1 or least:
        scatter = values.mean(axis=0).var(ddof=1) / objects if objects > 1 else 0.0
        terms.append((max(scatter, least**2), max(objects - 1, 1)))
    if seeds > 1:
        terms.append((values.mean(axis=1).var(ddof=1) / seeds, seeds - 1))
    total = sum(variance for variance, _ in terms)
    if not terms or total <= 0:
        return 0.0, math.inf
    return math.sqrt(total), total**2 / sum(variance**2 / free for variance, free in terms)


def accuracy_error(outcome: Outcome) -> float:
    """Standard error of the mean accuracy; near 0 and 1, where objects scatter too little, by Wilson's interval."""
    values = share_matrix(outcome, "accuracy")
    mean, objects = float(values.mean()), values.shape[1]
    few = objects * min(mean, 1 - mean) < FEW
    low, high = wilson(mean, objects)
    return standard_error(values, (high - low) / (2 * Z) if few else 0.0)[0]


def compare(first: Outcome, second: Outcome, metric: str) -> Comparison | None:
    """First minus second; None when they were not measured on the same objects, or have no seed in common."""
    seeds = [seed for seed in first.seeds if seed in second.seeds]
    if not seeds or not np.array_equal(first.object_id, second.object_id):
        return None
    values = share_matrix(first, metric, seeds) - share_matrix(second, metric, seeds)
    delta, (error, free) = float(values.mean()), standard_error(values)
    objects = values.shape[1]
    certain = 1.0 if abs(delta) < 1e-12 else min(1.0, 2 * 0.5**objects)  # no scatter at all: the sign test
    p = float(2 * stats.t.sf(abs(delta) / error, free)) if error > 0 else certain
    return Comparison(delta=delta, error=error, p=p, seeds=len(seeds), objects=objects)


def above_majority(said: Outcome) -> Comparison | None:
    """Accuracy of the runs minus that of always naming the commonest class of the split, paired by object."""
    commonest = np.bincount(said.truth, minlength=said.classes).argmax()
    always = dataclasses.replace(said, said=np.full_like(said.said, commonest))
    return compare(said, always, "accuracy")


def wilson(share: float, objects: float) -> tuple[float, float]:
    """The 95% interval of a share of so many objects (Wilson 1927), within 0 and 1 and never empty."""
    if objects <= 0:
        return 0.0, 1.0
    spread = Z**2 / objects
    centre = (share + spread / 2) / (1 + spread)
    half = math.sqrt(max(share * (1 - share), 0.0) * spread + spread**2 / 4) / (1 + spread)
    low, high = max(0.0, centre - half), min(1.0, centre + half)
    return (0.0 if share <= 0 else low), (1.0 if share >= 1 else high)


def interval(outcome: Outcome, metric: str) -> tuple[float, float]:
    """95% interval over objects of the mean over seeds: of accuracy Wilson's; of balanced accuracy, the mean of
    recalls, their Wilson intervals joined (the method of variance estimates recovery, Zou & Donner 2008).
    """
    right = share_matrix(outcome, "accuracy").mean(axis=0)
    if metric == "accuracy":
        return wilson(float(right.mean()), len(right))
    if metric != "balanced_accuracy":
        raise ValueError(f"no interval of {metric!r}")
    counts = np.bincount(outcome.truth, minlength=outcome.classes)
    recalls = [(float(right[outcome.truth == k].mean()), int(n)) for k, n in enumerate(counts) if n]
    mean = sum(share for share, _ in recalls) / len(recalls)
    bounds = [(share, *wilson(share, n)) for share, n in recalls]
    below, above = (math.hypot(*(one[0] - one[side] for one in bounds)) / len(bounds) for side in (1, 2))
    return max(0.0, mean - below), min(1.0, mean + above)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """The scheme with the largest mean, and those that a test cannot tell from it (``level_with``)."""

    leader: str
    level_with: tuple[str, ...]
    behind: tuple[str, ...]

    def mark(self, scheme: str) -> str:
        """``best`` when it leads alone, ``level`` when it shares the lead with some but not all, else nothing."""
        if not self.behind:
            return ""
        if scheme == self.leader:
            return "level" if self.level_with else "best"
        return "level" if scheme in self.level_with else ""


def verdict(found: dict[str, Outcome], metric: str) -> Verdict | None:
    """Compare the scheme of the largest mean with every other; Holm's correction over these comparisons.

    None with fewer than two schemes. A scheme that cannot be compared counts as level.
    """
    if len(found) < 2:
        return None
    means = {scheme: float(share_matrix(outcome, metric).mean()) for scheme, outcome in found.items()}
    leader = max(means, key=lambda scheme: means[scheme])
    tests = {scheme: compare(found[leader], found[scheme], metric) for scheme in found if scheme != leader}
    pvalues = holm({scheme: test.p if test else 1.0 for scheme, test in tests.items()})
    level = tuple(scheme for scheme, p in pvalues.items() if p >= LEVEL)
    return Verdict(leader=leader, level_with=level, behind=tuple(one for one in pvalues if one not in level))


def holm(pvalues: dict[str, float]) -> dict[str, float]:
    """p-values corrected for their number (Holm 1979), in the order given."""
    adjusted, worst = {}, 0.0
    for place, name in enumerate(sorted(pvalues, key=lambda name: pvalues[name])):
        worst = max(worst, min(1.0, pvalues[name] * (len(pvalues) - place)))
        adjusted[name] = worst
    return {name: adjusted[name] for name in pvalues}
