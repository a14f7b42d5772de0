"""Averaged: predict, from one view, what a slow average of the network makes of another (Grill et al. 2020, BYOL).

The average is a part of the network without gradients, so that it is broadcast, compared over ranks and saved like any
weight. In the place of batch normalisation, without which all outputs become alike, features and the average's
projections, at which predictions aim, are standardised by their mean and deviation over all training images, measured
anew at the beginning of each epoch, and hidden layers are normalised over one object: nothing depends on a batch, and
ranks agree. What all images share is in no aim, so that saying the same of all is the worst answer.
"""

import copy
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpc_astrossl.pretexts.augmentations import check_turns, two_views
from hpc_astrossl.pretexts.pretext import Pretext, Renewal, Shape
from hpc_astrossl.specs.run import RunSpec

BATCH = 8192  # features that are projected at a time
QUIET = 0.1  # of the usual deviation: a feature that varies less, or is dead as yet, is not blown up beyond that
LEAST = 1e-6  # all of them are always the same


class Averaged(Pretext):
    """Two views. Raw outputs of an object: predictions of both, then projections of both by the average."""

    views = 2
    comparable = False  # a network that has collapsed has the smallest loss of all
    headline = "spread"

    def __init__(self, run: RunSpec, shape: Shape):
        super().__init__(run, shape)
        self.outputs = self.switches.width
        check_turns("byol", self.switches, shape)

    def seen(self, images: Tensor, rows: np.ndarray, epoch: int) -> Tensor:
        """Two views, drawn apart."""
        return two_views(images, self.switches, self.seed, epoch, rows)

    def extend(self, net: Any, generator: torch.Generator) -> None:
        """The predictor, and copies of encoder and head that will follow them."""
        hidden, width = net.head.hidden.out_features, self.outputs
        net.predictor = nn.Sequential(
            nn.Linear(width, hidden), nn.LayerNorm(hidden), nn.ReLU(), nn.Linear(hidden, width)
        )
        for layer in (net.predictor[0], net.predictor[3]):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu", generator=generator)
            nn.init.zeros_(layer.bias)
        nn.init.kaiming_normal_(net.head.output.weight, nonlinearity="linear", generator=generator)
        inputs = net.head.hidden.in_features
        for name, width in (("", inputs), ("aim_", self.outputs)):
            net.register_buffer(f"{name}centre", torch.zeros(width))
            net.register_buffer(f"{name}scale", torch.ones(width))
        net.average = nn.ModuleDict({name: copy.deepcopy(getattr(net, name)) for name in ("features", "head")})
        net.average.requires_grad_(False)

    def renew(self, now: Renewal) -> None:
        """Measure mean and deviation of the training images' features, and of the average's projections of them."""
        net, train = now.net, now.rows["train"]
        _, features = now.features(train)
        _measured(net.centre, net.scale, features)
        slow = SimpleNamespace(encode=lambda images: net.encode(images, net.average["features"]))
        _, features = now.features(train, slow)
        with torch.no_grad():
            parts = torch.from_numpy(features).split(BATCH)
            aims = [self.aim(net, part.to(net.centre.device)).cpu() for part in parts]
        _measured(net.aim_centre, net.aim_scale, torch.cat(aims).numpy())

    def raw(self, net: Any, views: Tensor, keep: Tensor | None) -> Tensor:
        """(B, 4 · width): predictions of the first and second view, then the average's projections of both."""
        keep = keep if keep is None else keep.repeat_interleave(self.views, dim=0)
        flat = views.flatten(0, 1)

        predicted = net.predictor(self.projected(net.head, standard(net, net.encode(flat)), keep))
        with torch.no_grad():
            aimed_at = self.aim(net, net.encode(flat, net.average["features"]))
            aimed_at = (aimed_at - net.aim_centre) * net.aim_scale
        both = [part.reshape(len(views), self.views * self.outputs) for part in (predicted, aimed_at)]
        return torch.cat(both, dim=1)

    def aim(self, net: Any, features: Tensor) -> Tensor:
        """The average's projections of its features, before they are standardised."""
        return self.projected(net.average["head"], standard(net, features), None)

    def projected(self, head: Any, features: Tensor, keep: Tensor | None) -> Tensor:
        """The head with its hidden layer normalised over each object."""
        hidden = torch.relu(F.layer_norm(head.hidden(features), (head.hidden.out_features,)))
        return head.output(hidden if keep is None else hidden * keep / (1 - head.dropout))

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """2 − 2 cos of each prediction and the average's projection of the other view, mean of both, (B,)."""
        predicted, aimed_at = raw.view(len(raw), 2, self.views, self.outputs).unbind(dim=1)
        likeness = F.cosine_similarity(predicted, aimed_at.flip(1).detach(), dim=2)
        return (2 - 2 * likeness).mean(dim=1)

    def stepped(self, net: Any, done: float) -> None:
        """Let the average follow: momentum · average + (1 − momentum) · network, the momentum rising to 1."""
        momentum = 1 - (1 - self.switches.momentum) * (math.cos(math.pi * min(done, 1)) + 1) / 2
        with torch.no_grad():
            for name, module in net.average.items():
                for slow, quick in zip(module.parameters(), getattr(net, name).parameters(), strict=True):
                    slow.lerp_(quick, 1 - momentum)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss, and the spread of the average's projections: 1 when they lie in all directions, 0 when all are alike.

        The spread is the deviation of unit vectors over objects, times the root of their length's number.
        """
        points = answer.reshape(len(answer), 2 * self.views, self.outputs)[:, self.views].astype(np.float64)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        spread = float(np.sqrt(points.var(axis=0).sum()))
        return {"loss": float(losses.mean(dtype=np.float64)), "spread": spread}


def standard(net: Any, features: Tensor) -> Tensor:
    """Features by the mean and deviation that the epoch began with."""
    return (features - net.centre) * net.scale


def _measured(centre: Tensor, scale: Tensor, values: np.ndarray) -> None:
    """Set the mean of rows, and one over their deviation."""
    mean, deviation = values.mean(axis=0, dtype=np.float64), values.std(axis=0, dtype=np.float64)
    centre.copy_(torch.from_numpy(mean))
    least = max(QUIET * float(np.sqrt((deviation**2).mean())), LEAST)
    scale.copy_(torch.from_numpy(1 / np.maximum(deviation, least)))
