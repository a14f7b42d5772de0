"""Clusters: features are clustered, the network learns the clusters, and so on (Caron et al. 2018, DeepCluster).

At the beginning of an epoch, or of every ``reassign``-th: features of all images by the network as it is, PCA
whitening, k-means, and an output layer begun anew. Pseudo-labels are in the checkpoint.
"""

from functools import reduce
from operator import or_
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.draws import hashed
from hpc_astrossl.nets.vgg import generator
from hpc_astrossl.pretexts.kmeans import clustering, mutual_information
from hpc_astrossl.pretexts.pretext import Pretext, Renewal, Shape, scored
from hpc_astrossl.specs.run import RunSpec

KMEANS = 21  # stream of draws, see loading/draws.py


class Clusters(Pretext):
    """One view, the image as it is augmented; the truth is the number of its cluster."""

    comparable = False  # every reassignment asks another question

    def __init__(self, run: RunSpec, shape: Shape):
        super().__init__(run, shape)
        self.outputs, self.chance = self.switches.k, 1 / self.switches.k
        self.weights = torch.ones(self.outputs)

    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """The image, alone."""
        return images[:, None]

    def renew(self, now: Renewal) -> None:
        """Cluster again when it is time; the clusters are the training images', the others get the nearest."""
        if (now.epoch - 1) % self.switches.reassign:
            return
        train = now.rows["train"]
        if len(train) <= self.outputs:
            raise InputError(f"pretext clusters: k {self.outputs} clusters of {len(train)} training images; "
                             "take a smaller k, at most a tenth of the images")  # fmt: skip
        known, features = now.features(np.asarray(reduce(or_, now.rows.values())))
        learning = train.has(known)
        told = self._clustered(features, learning, now.epoch) if self.engine is None or self.engine.rank == 0 else None
        labels, learnt, split = told if self.engine is None else self.engine.gather(told)[0]
        before = now.truth.numpy()[known[learning], 0]
        now.truth[torch.from_numpy(known), 0] = torch.from_numpy(labels)
        self._weigh(learnt)
        self._begin_output(now)
        counts = np.bincount(learnt, minlength=self.outputs)
        self.told = {
            "clusters": int((counts > 0).sum()),
            "split": split,
            "largest_cluster": float(counts.max() / len(learnt)),
        }
        if now.epoch > 1:
            self.told["nmi_to_last"] = mutual_information(before, learnt)

    def _clustered(self, features: np.ndarray, learning: np.ndarray, epoch: int) -> tuple[np.ndarray, np.ndarray, int]:
        """(labels of all, labels of the training images, clusters that had to be split off)."""
        seed = int(hashed(KMEANS, self.seed, epoch, np.zeros(1, dtype=np.int64))[0] >> np.uint64(32))
        found, labels = clustering(features[learning], self.outputs, self.switches.components, seed)
        every = found.label(features)
        every[learning] = labels
        return every, labels, found.split

    def _weigh(self, learnt: np.ndarray) -> None:
        """Weights by cluster, with mean one over the training images.

        Sampling uniformly over clusters is weighing a loss by one over the cluster's size (Caron et al., sec. 3.3);
        without it one giant cluster is all that is learnt.
        """
        counts = np.bincount(learnt, minlength=self.outputs)
        even = len(learnt) / ((counts > 0).sum() * np.maximum(counts, 1))
        self.weights = torch.from_numpy(even).float() if self.switches.uniform else torch.ones(self.outputs)

    def _begin_output(self, now: Renewal) -> None:
        """N(0, 0.01) and zero, and the optimiser forgets what it knew of the output layer."""
        output = now.net.head.output
        with torch.no_grad():
            drawn = torch.empty(output.weight.shape).normal_(
                std=0.01, generator=generator(self.seed, KMEANS, now.epoch)
            )
            output.weight.copy_(drawn)
            output.bias.zero_()
        for parameter in (output.weight, output.bias):
            for value in now.optimizer.state.get(parameter, {}).values():
                if isinstance(value, Tensor):
                    value.zero_()

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """Cross entropy of each object's cluster, (B,), in nats; times the cluster's weight."""
        return F.cross_entropy(raw, truth[:, 0], weight=self.weights.to(raw.device), reduction="none")

    def answer(self, raw: Tensor) -> Tensor:
        """The number of the cluster that was told, and its probability, (B, 2)."""
        chance, number = torch.softmax(raw, dim=1).max(dim=1)
        return torch.stack([number.to(raw.dtype), chance], dim=1)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Accuracy of the pseudo-labels, beside guessing."""
        return scored((answer[:, 0] == truth[:, 0]).astype(float), losses, 1 / self.outputs)

    def state(self) -> dict[str, Any]:
        """The weights of the clusters; their labels are the truth, which is kept anyway."""
        return {"weights": self.weights}

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from ``state``."""
        self.weights = state["weights"]
