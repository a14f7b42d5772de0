"""The loaders of benchmarks/loading.py: how each wants the data on disk, and an endless run of its batches.

All give float32 batches (128, channels, height, width) in an order drawn anew each epoch, each image flipped both
ways and turned by 90° at random, uint8 divided by 255. A loader is a function of (folder, kind) and yields batches.
"""

import io
import itertools
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image

BATCH, WORKERS = 128, 2
SHAPES = {"rgb": (64, 64, 3), "bands": (32, 32, 12), "jpeg": (64, 64, 3), "png": (64, 64, 3)}


def images_of(folder: Path) -> np.ndarray:
    """All images, (N, height, width, channels), mapped."""
    return np.load(folder / "images.npy", mmap_mode="r")


def augmented(image: np.ndarray, rng: np.random.Generator) -> torch.Tensor:
    """One image put at random, channels first, float32; what every loader that works object by object calls."""
    horizontal, vertical, turns = rng.integers(0, (2, 2, 4))
    image = image[:, ::-1] if horizontal else image
    image = image[::-1] if vertical else image
    image = np.rot90(image, turns).transpose(2, 0, 1)
    out = np.ascontiguousarray(image, dtype=np.float32)
    return torch.from_numpy(np.multiply(out, np.float32(1 / 255), out=out) if image.dtype == np.uint8 else out)


class Objects(torch.utils.data.Dataset):
    """A map-style data set of ``count`` objects read by ``read(number)``, augmented one by one."""

    def __init__(self, count: int, read: Callable[[int], np.ndarray]):
        self.count, self.read, self.rng = count, read, None

    def __len__(self) -> int:
        return self.count

    def __getitem__(self, index: int) -> torch.Tensor:
        self.rng = self.rng or np.random.default_rng(torch.initial_seed() % (1 << 32))
        return augmented(self.read(index), self.rng)


def _batches(dataset, **options) -> Iterator[torch.Tensor]:
    loader = torch.utils.data.DataLoader(dataset, batch_size=BATCH, num_workers=WORKERS, persistent_workers=True,
                                         multiprocessing_context="fork", **options)  # fmt: skip
    return itertools.chain.from_iterable(iter(loader) for _ in itertools.count())


# The limit


def limit(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """An array in memory, gathered, permuted and scaled by whole batches into memory that is used again."""
    images, rng = np.array(images_of(folder)), np.random.default_rng(0)
    gathered = np.empty((BATCH, *images.shape[1:]), dtype=images.dtype)
    outs = [np.empty((BATCH, images.shape[3], *images.shape[1:3]), dtype=np.float32) for _ in range(4)]
    scale = np.float32(1 / 255 if images.dtype == np.uint8 else 1)
    for number in itertools.count():
        np.take(images, rng.integers(0, len(images), BATCH), axis=0, out=gathered, mode="clip")
        horizontal, vertical, turns = rng.integers(0, 2, BATCH), rng.integers(0, 2, BATCH), rng.integers(0, 4, BATCH)
        for flag, axis in ((horizontal, 2), (vertical, 1)):
            chosen = np.flatnonzero(flag)
            gathered[chosen] = np.flip(gathered[chosen], axis)
        for turn in (1, 2, 3):
            chosen = np.flatnonzero(turns == turn)
            gathered[chosen] = np.rot90(gathered[chosen], turn, axes=(1, 2))
        out = outs[number % len(outs)]
        np.multiply(gathered.transpose(0, 3, 1, 2), scale, out=out)
        yield torch.from_numpy(out)


# Ours


def ours(resident: bool, name: str, store: str = "store.zarr") -> Callable[[Path, str], Iterator[torch.Tensor]]:
    """The product's loader of that name, on the store of that name."""

    def run(folder: Path, kind: str) -> Iterator[torch.Tensor]:
        from hpc_astrossl.engines.single import Single
        from hpc_astrossl.loading import LoaderSpec, open_loader
        from hpc_astrossl.store import open_store

        alone = Single(reason="benchmark", device="cpu")
        opened = open_store(folder / store)
        spec = LoaderSpec(batch_size=BATCH, scaling="none" if kind == "bands" else "unit", flips=True, turns=True,
                          seed=0, resident_mb=1 << 20 if resident else 0)  # fmt: skip
        loader = open_loader(opened, opened.rows("train"), spec, engine=alone, device="cpu", name=name)
        for epoch in itertools.count():
            yield from (batch.images for batch in loader.epoch(epoch))

    return run


def chunks_alone(folder: Path, kind: str) -> Iterator[np.ndarray]:
    """What bounds streaming: chunks are read, unpacked and their sums compared by its threads, and no batch is made."""
    from hpc_astrossl.loading.pixels import READ_AHEAD
    from hpc_astrossl.loading.reading import TOGETHER, Readers, Reading
    from hpc_astrossl.store import open_store

    store = open_store(folder / "store.zarr")
    readers, chunks = Readers(store), np.random.default_rng(0).permutation(len(store) // store.chunk_rows).tolist()
    for _ in itertools.count():
        reading = Reading(readers, chunks, lambda place, chunk: None)
        for count in range(TOGETHER, len(chunks) + 1, TOGETHER):
            reading.read(count + READ_AHEAD)
            reading.wait(count, lambda index, error: None)
            yield np.empty(TOGETHER * store.chunk_rows)


# Peers, object by object


def files(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """One file an object, as the authors keep them: PNG, .npy of bands, or JPEG."""
    names = sorted((folder / "files").iterdir())

    def read(index: int) -> np.ndarray:
        return np.load(names[index]) if kind == "bands" else np.asarray(Image.open(names[index]))

    return _batches(Objects(len(names), read), shuffle=True)


def zarr_objects(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """Our store, read object by object with zarr-python."""
    import zarr

    opened: dict[str, zarr.Array] = {}

    def read(index: int) -> np.ndarray:
        if "images" not in opened:
            opened["images"] = zarr.open_group(folder / "store.zarr", mode="r")["images"]
        return opened["images"][index]

    return _batches(Objects(len(images_of(folder)), read), shuffle=True)


def webdataset(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """Tar shards, shuffled in a buffer of 2,000."""
    import webdataset as wds

    shape, rng = SHAPES[kind], np.random.default_rng()

    def decode(sample: dict) -> torch.Tensor:
        if kind in sample:
            return augmented(np.asarray(Image.open(io.BytesIO(sample[kind]))), rng)
        return augmented(np.frombuffer(sample["raw"], "u1" if kind == "rgb" else "f4").reshape(shape), rng)

    shards = [str(path) for path in sorted((folder / "webdataset").glob("*.tar"))]
    data = wds.WebDataset(shards, shardshuffle=len(shards), empty_check=False).shuffle(2000).map(decode)
    return _batches(data)


def litdata(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """Litdata's optimised chunks, streamed and shuffled."""
    from litdata import StreamingDataLoader, StreamingDataset

    class Augmented(StreamingDataset):
        def __getitem__(self, index):
            item = super().__getitem__(index)
            return augmented(item.numpy().reshape(SHAPES[kind]), np.random.default_rng(index.index))

    loader = StreamingDataLoader(Augmented(str(folder / "litdata"), shuffle=True), batch_size=BATCH,
                                 num_workers=WORKERS)  # fmt: skip
    return itertools.chain.from_iterable(iter(loader) for _ in itertools.count())


def hugging_face(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """Hugging Face datasets: an Arrow table of the raw bytes, memory mapped."""
    import datasets

    table, shape = datasets.load_from_disk(str(folder / "arrow")), SHAPES[kind]
    dtype = "f4" if kind == "bands" else "u1"
    return _batches(Objects(len(table), lambda i: np.frombuffer(table[i]["raw"], dtype).reshape(shape)), shuffle=True)


def ffcv(folder: Path, kind: str) -> Iterator[torch.Tensor]:
    """FFCV: raw fields in memory, full shuffle, its two threads, one compiled operation for all of the augmentation."""
    from ffcv_augmentation import loader

    return itertools.chain.from_iterable(
        (batch[0] for batch in epoch) for epoch in itertools.repeat(loader(folder, BATCH, WORKERS))
    )


LOADERS: dict[str, tuple[Callable[[Path, str], Iterator[torch.Tensor]], tuple[str, ...]]] = {
    "limit: array in memory, vectorised": (limit, ("rgb", "bands")),
    "ours, resident": (ours(True, "auto"), ("rgb", "bands", "jpeg", "png")),
    "ours, streamed": (ours(False, "auto"), ("rgb", "bands", "jpeg", "png")),
    "ours, streamed, compression: zstd": (ours(False, "auto", "zstd.zarr"), ("rgb",)),
    "ours, chunks read and no more": (chunks_alone, ("rgb", "bands")),
    "ours by DALI on the CPU, resident": (ours(True, "dali"), ("rgb", "bands")),
    "ours by DALI on the CPU, streamed": (ours(False, "dali"), ("rgb", "bands", "jpeg", "png")),
    "FFCV": (ffcv, ("rgb", "bands")),
    "litdata": (litdata, ("rgb", "bands")),
    "WebDataset": (webdataset, ("rgb", "bands", "jpeg", "png")),
    "Hugging Face datasets": (hugging_face, ("rgb", "bands")),
    "one file an object": (files, ("rgb", "bands", "jpeg", "png")),
    "Zarr object by object": (zarr_objects, ("rgb", "bands")),
}
