"""A network that takes views: the encoder and head of any network of ``nets``, and what a pretext adds to them."""

import torch
from torch import Tensor, nn

from hpc_astrossl.nets.backbones import build
from hpc_astrossl.nets.vgg import Head, begin_head, generator
from hpc_astrossl.pretexts.pretext import Pretext

EXTRA = 1  # the second number of the key that a pretext's own modules are drawn from


class Viewed(nn.Module):
    """Views (B, V, channels, h, w) to raw outputs, one row an object. ``features`` and ``head`` keep their names."""

    def __init__(self, model: nn.Module, pretext: Pretext):
        super().__init__()
        self.features, self.head = model.features, model.head
        self.encode, self.pooled = model.encode, model.pooled
        self.pretext = pretext

    def forward(self, views: Tensor, keep: Tensor | None = None) -> Tensor:
        """Raw outputs; ``keep`` (B, hidden) is what dropout leaves."""
        return self.pretext.raw(self, views, keep)


def learner(pretext: Pretext) -> Viewed:
    """The pretext's network, begun from its run's seed, on the CPU; InputError when its views are too small."""
    spec, seed = pretext.run.model, pretext.seed
    model = build(spec, shape=pretext.shape, outputs=pretext.outputs, seed=seed)
    source = generator(seed, EXTRA)
    if pretext.joined:
        model.head = Head(pretext.views * model.head.hidden.in_features, pretext.outputs, spec)
        begin_head(model.head, source)
    net = Viewed(model, pretext)
    with torch.no_grad():
        pretext.extend(net, source)
    return net.eval()
