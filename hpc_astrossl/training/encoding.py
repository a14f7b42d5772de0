"""Images through frozen convolutions: from memory, from the cache on disk, or computed and kept in both."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from hpc_astrossl.errors import StoreChanged
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.vgg import VGG16, working_precision
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import RowSet, Store
from hpc_astrossl.training.control import MASKED, controlled
from hpc_astrossl.training.data import Source
from hpc_astrossl.training.feature_cache import SEGMENT, FeatureCache, store_digest
from hpc_astrossl.training.features import view
from hpc_astrossl.training.loop import collect
from hpc_astrossl.training.watch import Stop

# Images that go through the convolutions together, always as many (the rest is filled with zeros): a kernel chosen by
# batch size rounds differently, and features must not depend on who asked for them.
TOGETHER = {"cpu": 32, "cuda": 256}


@dataclass(kw_only=True)
class Encoder:
    """Features of a store's rows while the convolutions stay as they are; ``loader`` names the loader that was used."""

    run: RunSpec
    store: Store
    engine: Any
    stop: Stop
    say: Callable[[str], None]
    cache: FeatureCache | None = None
    loader: str | None = None  # until images have been loaded

    def __post_init__(self):
        self._kept: list[tuple[np.ndarray, Tensor]] = []
        self.unreadable = np.empty(0, dtype=np.int64)  # the same on every rank
        self.skipped: dict[int, str] = {}  # row -> reason, of those that this rank could not read

    def hold(self) -> None:
        """StoreChanged, on every rank, when the store was replaced or changed since it was opened. Collective."""
        try:
            self.store.hold()
            found = None
        except StoreChanged as error:
            found = str(error)
        for problem in self.engine.gather(found):
            if problem:
                raise StoreChanged(problem)

    def forget(self) -> None:
        """The convolutions change from here on: what is in memory is theirs no more, nor is the cache."""
        self._kept, self.cache = [], None

    def features(self, model: VGG16, rows: RowSet | np.ndarray, *, views: int = 1) -> tuple[np.ndarray, Tensor]:
        """(known (M,), features (views, M, D) float32, on the device): of ``rows``, or of more that were asked before.

        Rows that cannot be read are not among ``known`` if the run allows that (``data.corrupt``). Collective;
        Interrupted on a request to stop, InputError when nothing can be read.
        """
        rows, found = self.readable(np.asarray(rows)), []
        for known, features in self._kept:
            if len(features) >= views and np.isin(rows, known, assume_unique=True).all():
                return known, features
        for number in range(views):
            found.append(self._found(model, rows, number).to(self.engine.device))
            rows = self.readable(rows)
        self._kept.append((rows, torch.stack(found)))
        return self._kept[-1]

    def readable(self, rows: np.ndarray) -> np.ndarray:
        """``rows`` (ascending) without those that turned out to be unreadable."""
        return np.setdiff1d(rows, self.unreadable, assume_unique=True)

    def plain(self, model: VGG16, rows: RowSet | np.ndarray) -> Tensor:
        """Features (N, D) of exactly ``rows``, as they are (view 0)."""
        rows = np.asarray(rows)
        known, features = self.features(model, rows)
        return features[0, torch.from_numpy(np.searchsorted(known, rows)).to(features.device)]

    def _found(self, model: VGG16, rows: np.ndarray, number: int) -> Tensor:
        """Of those of ``rows`` that can be read."""
        if self.cache is None:
            return self._computed(model, rows, number)
        writes = self.engine.rank == 0
        found, values = self._shared(self.cache.read(rows, number) if writes else None)
        if not found.all():
            if writes:  # the lock is rank 0's, and a look once it is held: another run may have been computing these
                with self.cache.writing(self.stop):
                    return self._filled(model, rows, number)
            return self._filled(model, rows, number)
        self.say(f"features of {len(rows)} objects, view {number}: from {self.cache.folder}")
        return torch.from_numpy(values)

    def _filled(self, model: VGG16, rows: np.ndarray, number: int) -> Tensor:
        """Compute what the cache misses, a segment at a time, and keep it."""
        writes = self.engine.rank == 0
        found, values = self._shared(self.cache.read(rows, number) if writes else None)
        missing = np.flatnonzero(~found)
        for start in range(0, len(missing), SEGMENT):
            some = missing[start : start + SEGMENT]
            computed = self._computed(model, rows[some], number).numpy()
            some = some[np.isin(rows[some], self.unreadable, invert=True)]
            if values is None:
                values = np.empty((len(rows), computed.shape[1]), dtype=np.float32)
            values[some] = computed
            if writes:
                self.cache.write(rows[some], computed, number)
        return torch.from_numpy(values[np.isin(rows, self.unreadable, invert=True)])

    def _shared(self, told: tuple | None) -> tuple[np.ndarray, np.ndarray | None]:
        """What rank 0 found, on every rank."""
        return told if self.engine.size == 1 else self.engine.gather(told)[0]

    def _computed(self, model: VGG16, rows: np.ndarray, number: int) -> Tensor:
        begin, together = time.monotonic(), TOGETHER[self.engine.device.type]
        spec = LoaderSpec(batch_size=together * self.engine.size, scaling=self.run.data.scaling, flips=False,
                          turns=False, seed=0, resident_mb=0, corrupt=self.run.data.corrupt)  # fmt: skip
        loader = open_loader(self.store, rows, spec, engine=self.engine, device=self.engine.device)
        loader = controlled(loader, self.run.data.control)
        self.loader = loader.name

        def encode(images: Tensor) -> Tensor:
            filled = F.pad(view(images, number), (0, 0) * 3 + (0, together - len(images)))
            return model.encode(filled)[: len(images)]

        try:
            found, features = collect(encode, loader, self.engine, self.stop)
        finally:
            loader.close()
        self.hold()
        self.unreadable = np.union1d(self.unreadable, np.setdiff1d(rows, found))
        self.skipped |= loader.skipped.rows
        seconds = time.monotonic() - begin
        self.say(f"features of {len(rows)} objects, view {number}: {len(rows) / seconds:.0f} samples/s")
        return features


def open_cache(
    run: RunSpec, workdir: Path, store: Store, source: Source, *, engine, say: Callable[[str], None]
) -> FeatureCache | None:
    """The features on disk that runs from the same weights share; None for convolutions that only this run has."""
    if source.name is None or not run.data.keep_features or run.phases[0].trains != "head":
        return None
    about = {
        "store": store_digest(store),
        "weights": weights.digest(source.tensors),
        "scaling": run.data.scaling,
        "pooling": run.model.pooling,
        "device": engine.device.type,
        "precision": working_precision(run.model.precision, engine.device),
    }
    if run.model.backbone != "vgg16":
        about["backbone"] = run.model.backbone
    if run.data.control == MASKED:
        about["control"] = MASKED
    return FeatureCache(workdir / "features", about, say)
