"""The two classifiers that compete for frozen features: the paper's head, and scikit-learn's logistic regression.

Both take standardised features (N × width, float32) and give logits (N × classes), softmax of which are probabilities.
The head is computed by numpy: it is small, and torch is not on a login node.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from sklearn.linear_model import LogisticRegression

HIDDEN, DROPOUT, MAX_NORM, RATE = 2048, 0.5, 2.0, 1e-3  # Martinazzo et al. 2020, sec. III; so are 100 epochs of Adam
EPOCHS, MOST_STEPS, BATCH = 100, 300, 128
BETAS, TINY = (0.9, 0.999), 1e-8  # Kingma & Ba 2015


class Model(Protocol):
    """A fitted classifier."""

    def logits(self, values: np.ndarray) -> np.ndarray:
        """(N × classes) of standardised features (N × width)."""


@dataclass(frozen=True, kw_only=True)
class Head:
    """Linear → ReLU → linear, as fitted: weights (width × hidden), (hidden × classes) and their biases."""

    hidden: np.ndarray
    hidden_bias: np.ndarray
    output: np.ndarray
    output_bias: np.ndarray

    def logits(self, values: np.ndarray) -> np.ndarray:
        """See ``Model``."""
        inner = values @ self.hidden
        inner += self.hidden_bias
        np.maximum(inner, 0, out=inner)
        return inner @ self.output + self.output_bias


@dataclass(frozen=True, kw_only=True)
class Linear:
    """One linear layer: weights (width × classes) and bias (classes)."""

    weight: np.ndarray
    bias: np.ndarray

    def logits(self, values: np.ndarray) -> np.ndarray:
        """See ``Model``."""
        return values @ self.weight + self.bias


def fit_head(values: np.ndarray, truth: np.ndarray, classes: int, seed: int) -> Head:
    """The paper's head: 2,048 hidden units, dropout, max-norm, Adam; everything random is drawn from ``seed``.

    It is trained for 100 epochs, with many labels for as many as make 300 steps.
    """
    source, width = np.random.default_rng(seed), values.shape[1]
    weights = [
        source.normal(0, np.sqrt(2 / width), (width, HIDDEN)).astype(np.float32),
        np.zeros(HIDDEN, np.float32),
        source.normal(0, 0.01, (HIDDEN, classes)).astype(np.float32),
        np.zeros(classes, np.float32),
    ]
    wanted = np.eye(classes, dtype=np.float32)[truth]
    adam, step = _Adam(weights), 0
    while step < min(MOST_STEPS, EPOCHS * -(-len(truth) // BATCH)):
        order = source.permutation(len(truth))
        for rows in np.array_split(order, -(-len(truth) // BATCH)):
            keep = (source.random((len(rows), HIDDEN), dtype=np.float32) >= DROPOUT).astype(np.float32)
            adam.step(_gradients(weights, values[rows], wanted[rows], keep / (1 - DROPOUT)))
            _constrain(weights[0])
            step += 1
    return Head(hidden=weights[0], hidden_bias=weights[1], output=weights[2], output_bias=weights[3])


def _gradients(weights: list[np.ndarray], values: np.ndarray, wanted: np.ndarray, keep: np.ndarray) -> list:
    """Of the mean cross entropy with respect to each of ``weights``; ``keep`` is the scaled dropout mask."""
    hidden = values @ weights[0] + weights[1]
    alive = keep * (hidden > 0)
    inner = hidden * alive
    error = (softmax(inner @ weights[2] + weights[3]) - wanted) / len(values)
    back = (error @ weights[2].T) * alive
    return [values.T @ back, back.sum(axis=0), inner.T @ error, error.sum(axis=0)]


def _constrain(weight: np.ndarray) -> None:
    """Shorten each hidden unit's incoming weights (a column) to at most MAX_NORM, in place."""
    norms = np.sqrt(np.einsum("ij,ij->j", weight, weight))
    if (norms > MAX_NORM).any():
        weight *= np.where(norms > MAX_NORM, MAX_NORM / (norms + 1e-7), 1).astype(np.float32)


class _Adam:
    """Adam's moments of a list of weights; ``step`` changes the weights in place."""

    def __init__(self, weights: list[np.ndarray]):
        self.weights, self.count = weights, 0
        self.first, self.second, self.room = ([np.zeros_like(one) for one in weights] for _ in range(3))

    def step(self, gradients: list[np.ndarray]) -> None:
        self.count += 1
        rate = RATE * np.sqrt(1 - BETAS[1] ** self.count) / (1 - BETAS[0] ** self.count)
        tiny = TINY * np.sqrt(1 - BETAS[1] ** self.count)
        for weight, slope, first, second, room in zip(
            self.weights, gradients, self.first, self.second, self.room, strict=True
        ):
            first *= BETAS[0]
            np.multiply(slope, 1 - BETAS[0], out=room)
            first += room
            second *= BETAS[1]
            np.multiply(slope, slope, out=room)
            room *= 1 - BETAS[1]
            second += room
            np.sqrt(second, out=room)
            room += np.float32(tiny)
            np.divide(first, room, out=room)
            room *= np.float32(rate)
            weight -= room


def fit_logistic(values: np.ndarray, truth: np.ndarray, classes: int, seed: int) -> Linear:
    """scikit-learn's logistic regression as it comes (L2, C = 1), with iterations enough.

    A class without an object in ``truth`` gets no chance: its logit is that of a probability of 1e-12 at most.
    """
    weight, bias = np.zeros((values.shape[1], classes)), np.full(classes, np.log(1e-12))
    present = np.unique(truth)
    if len(present) == 1:
        bias[present] = 0
    else:
        found = LogisticRegression(max_iter=5000, random_state=seed).fit(values, truth)
        if len(present) == 2:  # one column says how far the second is above the first
            weight[:, present[1]], bias[present] = found.coef_[0], (0, found.intercept_[0])
        else:
            weight[:, present], bias[present] = found.coef_.T, found.intercept_
    return Linear(weight=weight.astype(np.float32), bias=bias.astype(np.float32))


Fit = Callable[[np.ndarray, np.ndarray, int, int], Model]
FITS: dict[str, Fit] = {"logistic regression": fit_logistic, "the paper's head": fit_head}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Probabilities over the last axis."""
    raised = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return raised / raised.sum(axis=-1, keepdims=True)
