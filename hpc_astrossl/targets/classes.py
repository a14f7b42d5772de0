"""Classification: softmax and cross entropy; accuracy, and what accuracy hides when one class is common."""

from collections.abc import Iterable
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.specs.run import DataSpec
from hpc_astrossl.store import Store, StoreInfo

Columns = dict[str, np.ndarray]


class Classes:
    """The store's label, one of ``class_names``."""

    headline = "accuracy"

    def __init__(self, info: StoreInfo, spec: DataSpec | None = None):
        if len(info.class_names) < 2:
            raise InputError(
                f"store {info.name}: target classes needs two classes or more, the store names "
                f"{', '.join(info.class_names) or 'none'}; take a labelled store, or target: magnitudes"
            )
        self.names = info.class_names
        self.weighted = spec is not None and spec.class_weights == "inverse"
        self.weights = np.ones(len(self.names), dtype=np.float32)

    def columns(self, store: Store) -> Columns:
        """The store's columns."""
        return store.table

    def prepare(self, truth: Iterable[np.ndarray]) -> None:
        """With ``class_weights: inverse``, weigh losses by one over the class's share, with mean 1 over ``truth``."""
        if self.weighted:
            counts = sum(np.bincount(part, minlength=self.outputs) for part in truth)
            occurs = counts > 0
            shares = counts.sum() / (occurs.sum() * np.maximum(counts, 1))
            self.weights = np.where(occurs, shares, 1.0).astype(np.float32)

    @property
    def outputs(self) -> int:
        """One output a class."""
        return len(self.names)

    def usable(self, table: Columns) -> np.ndarray:
        """Objects that carry a label."""
        return table["label"] >= 0

    def strata(self, table: Columns) -> np.ndarray:
        """The class."""
        return table["label"]

    def truth(self, table: Columns) -> np.ndarray:
        """Class numbers, int16 (N,); -1 where there is no label."""
        return table["label"].astype(np.int16)

    def first_output(self, truth: Iterable[np.ndarray]) -> np.ndarray:
        """Zeros: every class alike."""
        return np.zeros(self.outputs, dtype=np.float32)

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy of each object, (B,), in nats; times its class's weight."""
        weights = torch.as_tensor(self.weights, device=raw.device) if self.weighted else None
        return F.cross_entropy(raw, truth.long(), weight=weights, reduction="none")

    def answer(self, raw: Tensor) -> Tensor:
        """Probabilities, (B, classes)."""
        return torch.softmax(raw, dim=1)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss, accuracy, balanced accuracy (mean recall of the classes that occur) and macro F1.

        Macro F1 is the mean over the classes that occur in the truth or in the answers.
        """
        told = answer.argmax(axis=1)
        right = np.bincount(truth[told == truth], minlength=self.outputs).astype(float)
        true, claimed = (np.bincount(x, minlength=self.outputs) for x in (truth, told))
        occurs, named = true > 0, (true + claimed) > 0
        return {
            "loss": float(losses.mean(dtype=np.float64)),
            "accuracy": float(right.sum() / len(truth)),
            "balanced_accuracy": float((right[occurs] / true[occurs]).mean()),
            "macro_f1": float((2 * right[named] / (true + claimed)[named]).mean()),
        }

    def uncertainty(self, table: Columns, rows: np.ndarray) -> Columns:
        """Nothing: a label has none."""
        return {}

    def shares(self, answers: dict[str, np.ndarray], truths: dict[str, np.ndarray]) -> dict[str, Any]:
        """Share of the commonest class by split, and whether one class was told for every object."""
        told = np.concatenate([answer.argmax(axis=1) for answer in answers.values()])
        majority = {split: float(np.bincount(truth).max() / len(truth)) for split, truth in truths.items()}
        return {"majority_share": majority, "collapsed": len(np.unique(told)) == 1}
