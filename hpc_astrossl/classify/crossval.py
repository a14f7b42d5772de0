"""What a classifier is worth before it answers: repeated stratified cross-validation, and probabilities made honest."""

import os
import warnings
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize_scalar
from sklearn.model_selection import RepeatedStratifiedKFold
from threadpoolctl import threadpool_limits

from hpc_astrossl.classify.models import Fit, softmax

FOLDS, REPEATS, SEED = 5, 3, 0
COLDEST, HOTTEST = 1e-2, 1e2  # temperatures looked at


@dataclass(frozen=True, kw_only=True)
class Held:
    """Answers for labelled objects by models that had not seen them: ``logits`` (repeats × N × classes).

    ``fold`` (repeats × N) says in which fold an object was held out; ``truth`` (N,) are class numbers.
    """

    logits: np.ndarray
    fold: np.ndarray
    truth: np.ndarray

    @property
    def folds(self) -> int:
        """How many there were in each repeat."""
        return int(self.fold.max()) + 1

    @property
    def said(self) -> np.ndarray:
        """Class numbers (repeats × N)."""
        return self.logits.argmax(axis=2)

    @property
    def accuracy(self) -> float:
        """Mean over objects and repeats."""
        return float((self.said == self.truth).mean())

    @property
    def temperature(self) -> float:
        """The one that makes the held-out probabilities most likely (Guo et al. 2017), over all repeats."""
        return temperature(self.logits.reshape(-1, self.logits.shape[2]), np.tile(self.truth, len(self.logits)))

    def chances(self, calibrated: bool) -> np.ndarray:
        """Probabilities (repeats × N × classes); a fold's temperature is found on the other folds of its repeat."""
        if not calibrated:
            return softmax(self.logits)
        made = np.empty_like(self.logits)
        for logits, fold, out in zip(self.logits, self.fold, made, strict=True):
            for one in np.unique(fold):
                here = fold == one
                out[here] = softmax(logits[here] / temperature(logits[~here], self.truth[~here]))
        return made

    def loss(self, calibrated: bool = True) -> float:
        """Mean cross entropy in nats."""
        chances = self.chances(calibrated)
        return float(-np.log(np.maximum(chances[:, np.arange(len(self.truth)), self.truth], 1e-12)).mean())


def cross_validate(fit: Fit, values: np.ndarray, truth: np.ndarray, classes: int) -> Held:
    """Hold out each fifth of the objects three times over, stratified by class and seeded; the folds are the same for
    every ``fit``. A class of fewer objects than folds is missing in some of them; where all classes are, there are as
    many folds as the largest class has objects."""
    folds = min(FOLDS, int(np.bincount(truth).max()))
    logits = np.empty((REPEATS, len(truth), classes), dtype=np.float32)
    fold = np.empty((REPEATS, len(truth)), dtype=np.int64)
    splits = RepeatedStratifiedKFold(n_splits=folds, n_repeats=REPEATS, random_state=SEED)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="The least populated class")  # we say so ourselves
        parts = list(splits.split(values, truth))

    def hold_out(number: int) -> None:
        train, held = parts[number]
        logits[number // folds, held] = fit(values[train], truth[train], classes, number).logits(values[held])
        fold[number // folds, held] = number % folds

    _side_by_side(hold_out, len(parts))
    return Held(logits=logits, fold=fold, truth=truth)


def _side_by_side(work: Callable[[int], None], count: int) -> None:
    """``work`` of 0 to ``count`` − 1 on all cores, each on one: its matrices are too small to be shared by threads."""
    with threadpool_limits(1), ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        for _ in pool.map(work, range(count)):
            pass


def temperature(logits: np.ndarray, truth: np.ndarray) -> float:
    """T > 0 for which softmax(logits / T) has the smallest cross entropy."""
    rows = np.arange(len(truth))

    def loss(log_t: float) -> float:
        return float(-np.log(np.maximum(softmax(logits / np.exp(log_t))[rows, truth], 1e-12)).mean())

    found = minimize_scalar(loss, bounds=(np.log(COLDEST), np.log(HOTTEST)), method="bounded")
    return float(np.exp(found.x))
