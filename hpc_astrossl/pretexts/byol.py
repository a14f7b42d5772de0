"""Averaged: predict, from one view, what a slow average of the network makes of another (Grill et al. 2020, BYOL).

The average is a part of the network without gradients, so that it is broadcast, compared over ranks and saved like any
weight. In the place of batch normalisation, without which all outputs become alike: features are standardised by their
mean and deviation over all training images, measured anew at the beginning of each epoch; hidden layers are normalised
over one object; and the average's projections, at which predictions aim and which take no gradient, are standardised
over the global batch, so that what all images share is in no aim and saying the same of all is the worst answer.
"""

import copy
import math
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpc_astrossl.pretexts.augmentations import check_turns, two_views
from hpc_astrossl.pretexts.pretext import Gathers, Pretext, Renewal, Shape
from hpc_astrossl.specs.run import RunSpec

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
        net.register_buffer("centre", torch.zeros(inputs))
        net.register_buffer("scale", torch.ones(inputs))
        net.average = nn.ModuleDict({name: copy.deepcopy(getattr(net, name)) for name in ("features", "head")})
        net.average.requires_grad_(False)

    def renew(self, now: Renewal) -> None:
        """Measure mean and deviation of the training images' features."""
        _, features = now.features(np.asarray(now.rows["train"]))
        mean, deviation = features.mean(axis=0, dtype=np.float64), features.std(axis=0, dtype=np.float64)
        for buffer, values in ((now.net.centre, mean), (now.net.scale, reciprocal(deviation))):
            buffer.copy_(torch.from_numpy(values))

    def raw(self, net: Any, views: Tensor, keep: Tensor | None) -> Tensor:
        """(B, 4 · width): predictions of the first and second view, then the average's projections of both."""
        keep = keep if keep is None else keep.repeat_interleave(self.views, dim=0)
        flat = views.flatten(0, 1)

        def standard(features: Tensor) -> Tensor:
            return (features - net.centre) * net.scale

        predicted = net.predictor(self.projected(net.head, standard(net.encode(flat)), keep))
        with torch.no_grad():
            aimed_at = self.projected(net.average["head"], standard(net.encode(flat, net.average["features"])), None)
        both = [part.reshape(len(views), self.views * self.outputs) for part in (predicted, aimed_at)]
        return torch.cat(both, dim=1)

    def projected(self, head: Any, features: Tensor, keep: Tensor | None) -> Tensor:
        """The head with its hidden layer normalised over each object."""
        hidden = torch.relu(F.layer_norm(head.hidden(features), (head.hidden.out_features,)))
        return head.output(hidden if keep is None else hidden * keep / (1 - head.dropout))

    def losses(self, raw: Tensor, truth: Tensor) -> Tensor:
        """2 − 2 cos of each prediction and the other view's standardised aim, mean of both, (B,)."""
        if not raw.requires_grad:  # evaluation, of all objects: batch by batch
            return torch.cat([self.apart(part, None) for part in raw.split(self.run.data.batch_size)])
        return self.apart(raw, self.engine)

    def apart(self, raw: Tensor, engine: Gathers | None) -> Tensor:
        """The losses of one batch, of which this is the whole, or this rank's part."""
        predicted, aimed_at = raw.view(len(raw), 2, self.views, self.outputs).unbind(dim=1)
        aims = aimed_at.detach()
        centre, scale = over_batch(aims.flatten(0, 1).double().cpu().numpy(), engine)
        aims = (aims - centre.to(aims)) * scale.to(aims)
        return (2 - 2 * F.cosine_similarity(predicted, aims.flip(1), dim=2)).mean(dim=1)

    def stepped(self, net: Any, done: float) -> None:
        """Let the average follow: momentum · average + (1 − momentum) · network, the momentum rising to 1."""
        momentum = 1 - (1 - self.switches.momentum) * (math.cos(math.pi * min(done, 1)) + 1) / 2
        with torch.no_grad():
            for name, module in net.average.items():
                for slow, quick in zip(module.parameters(), getattr(net, name).parameters(), strict=True):
                    slow.lerp_(quick, 1 - momentum)

    def metrics(self, answer: np.ndarray, truth: np.ndarray, losses: np.ndarray) -> dict[str, Any]:
        """Loss, and the spread of the predictions: 1 when they lie in all directions, 0 when all are alike.

        The spread is the deviation of unit vectors over objects, times the root of their length's number.
        """
        points = answer.reshape(len(answer), 2 * self.views, self.outputs)[:, 0].astype(np.float64)
        points /= np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-12)
        spread = float(np.sqrt(points.var(axis=0).sum()))
        return {"loss": float(losses.mean(dtype=np.float64)), "spread": spread}


def reciprocal(deviation: np.ndarray) -> np.ndarray:
    """One over deviations, of those that are ``QUIET`` over what these are."""
    usual = float(np.sqrt((deviation**2).mean())) if deviation.size else 0.0
    return 1 / np.maximum(deviation, max(QUIET * usual, LEAST))


def over_batch(values: np.ndarray, engine: Gathers | None) -> tuple[Tensor, Tensor]:
    """(mean, one over deviation) of the rows of all ranks, float64 (N, D)."""
    own = (len(values), values.sum(axis=0), (values**2).sum(axis=0))
    parts = [own] if engine is None or engine.size == 1 else engine.gather(own)
    count, total, squares = (sum(part[i] for part in parts) for i in range(3))
    mean = total / max(count, 1)
    variance = np.maximum(squares / max(count, 1) - mean**2, 0)
    return torch.from_numpy(mean), torch.from_numpy(reciprocal(np.sqrt(variance)))
