"""Stores of given images and quick runs of pretexts on them."""

from pathlib import Path

import numpy as np
import torch
from torch import nn
from training_toys import make_run

from hpc_astrossl.nets.vgg import Head
from hpc_astrossl.pretexts import Renewal
from hpc_astrossl.specs.pretexts import DEFAULTS
from hpc_astrossl.specs.run import ModelSpec, PhaseSpec, RunSpec
from hpc_astrossl.store import RowSet, StoreInfo, create


def make_images_store(
    path: Path, images: np.ndarray, label: np.ndarray | None = None, prefix: str = "P", ra: float = 10.0
) -> Path:
    """A store of these images (N, height, width, 3), uint8; a sixth each is for validation and test."""
    writer, many = create(path, shape=images.shape, dtype=images.dtype, bands=0), np.arange(len(images))
    for start, stop in writer.shards:
        writer.write_images(start, images[start:stop])
    split = np.select([many % 12 < 2, many % 12 < 4], [1, 2], 0).astype(np.uint8)
    writer.write_table({
        "object_id": np.array([f"{prefix}{i:04d}" for i in many]),
        "ra": ra + many / 10, "dec": np.full(len(many), -30.0),
        "split": split, "label": (np.full(len(many), -1) if label is None else label).astype(np.int16),
    })  # fmt: skip
    return writer.finish(StoreInfo(
        name=path.name, survey="toys", release="1", bands=(), channels=("red", "green", "blue"), pixel_scale=None,
        class_names=() if label is None else tuple("abcdefgh"[: label.max() + 1]), recipe={},
        counts={"kept": len(many), "rejected": {}}, statistics=writer.statistics(split),
    ))  # fmt: skip


def pretext_run(kind: str, *, epochs: int = 2, rate: float = 1e-3, **changes) -> RunSpec:
    """A quick run of a pretext on the store ``toy``, with Adam."""
    phase = PhaseSpec(trains="all", optimizer="adam", learning_rate=rate, epochs=epochs)
    given = {**DEFAULTS[kind].get("data", {}), **DEFAULTS[kind].get("model", {}), "set": kind, "scheme": "pretext"}
    return make_run(phase, **{"target": kind, **given, **changes})


class Tiny(nn.Module):
    """An encoder of three convolutions with the manners of ``nets``: what a pretext asks can be learnt in seconds."""

    def __init__(self, pretext, channels: int = 3, width: int = 12):
        super().__init__()
        source = torch.get_rng_state()
        torch.manual_seed(0)
        layers, before = [], channels
        for _ in range(3):
            layers += [nn.Conv2d(before, width, 3, padding=1), nn.ReLU(), nn.AvgPool2d(2)]
            before = width
        self.features = nn.Sequential(*layers)
        inputs = width * (pretext.shape[0] // 8) * (pretext.shape[1] // 8) * (pretext.views if pretext.joined else 1)
        self.head = Head(inputs, pretext.outputs, ModelSpec(hidden=32, dropout=0.0, max_norm=None))
        self.pretext = pretext
        pretext.extend(self, torch.Generator().manual_seed(0))
        torch.set_rng_state(source)

    def encode(self, images: torch.Tensor, features: nn.Module | None = None) -> torch.Tensor:
        """Flattened maps, (B, D)."""
        return (self.features if features is None else features)(images).flatten(1)

    def forward(self, views: torch.Tensor, keep: torch.Tensor | None = None) -> torch.Tensor:
        """Raw outputs, one row an object."""
        return self.pretext.raw(self, views, keep)


def learn(pretext, images: np.ndarray, *, epochs: int = 30, batch: int = 16, rate: float = 3e-3) -> tuple[Tiny, dict]:
    """Train a tiny network on two thirds of the images (N, height, width, channels); (network, metrics of the rest)."""
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2).float() / 255
    rows, net = np.arange(len(pixels)), Tiny(pretext, images.shape[3])
    train, rest = rows[: 2 * len(rows) // 3], rows[2 * len(rows) // 3 :]
    optimizer = torch.optim.Adam([p for p in net.parameters() if p.requires_grad], lr=rate)
    truth = torch.zeros(len(rows), 1, dtype=torch.int64)

    @torch.no_grad()
    def features(some: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        return some, net.encode(pixels[some]).numpy()

    split = {name: RowSet.of(some, len(rows)) for name, some in (("train", train), ("validation", rest), ("test", []))}
    for epoch in range(1, epochs + 1):
        pretext.renew(Renewal(epoch=epoch, rows=split, truth=truth, net=net, optimizer=optimizer, features=features))
        order = np.random.default_rng(epoch).permutation(train)
        for number, some in enumerate(np.array_split(order, len(order) // batch), start=1):
            losses = pretext.losses(net(pretext.seen(pixels[some], some, epoch)), truth[some])
            optimizer.zero_grad()
            losses.mean().backward()
            optimizer.step()
            pretext.stepped(net, ((epoch - 1) * (len(order) // batch) + number) / (epochs * (len(order) // batch)))
    with torch.no_grad():
        raw = net(pretext.seen(pixels[rest], rest, 0))
        told = pretext.losses(raw, truth[rest])
    return net, pretext.metrics(pretext.answer(raw).numpy(), truth[rest].numpy(), told.numpy())
