"""The same objects on disk as each loader of benchmarks/loading.py wants them."""

import contextlib
import io
import tarfile
from pathlib import Path

import numpy as np
from PIL import Image

from hpc_astrossl.store import Encoding, StoreInfo, create, encoded

SHARD = 2000  # objects of a tar file
DISTINCT = 20_000  # a larger set repeats its first objects: what loaders do does not depend on the pixels


def cutouts(kind: str, shape: tuple[int, int, int], count: int) -> np.ndarray:
    """A faint round source on noisy sky, (count, *shape)."""
    rng, (height, width, _) = np.random.default_rng(0), shape
    y, x = np.mgrid[:height, :width] - (np.array([height, width])[:, None, None] - 1) / 2
    source = np.exp(-(x**2 + y**2) / (height / 4) ** 2)[..., None]
    images = np.empty((count, *shape), dtype=np.float32 if kind == "bands" else np.uint8)
    for first in range(0, count, 1000):
        part = images[first : first + 1000]
        sky = rng.standard_normal(part.shape, dtype=np.float32)
        part[...] = 3 * source + sky if kind == "bands" else np.clip(60 + 100 * source + 15 * sky, 0, 255)
    return images


def write_all(folder: Path, kind: str, shape: tuple[int, int, int], objects: int, peers: bool) -> None:
    """The store and, for the comparison, every peer's layout; those of peers that are not installed are left out."""
    folder.mkdir(parents=True, exist_ok=True)
    images = cutouts(kind, shape, min(objects, DISTINCT))
    files = [_encoded(image, kind) for image in images] if kind in ("jpeg", "png") else None
    write_store(folder / "store.zarr", images, files, objects, kind)
    if not peers:
        return
    if kind == "rgb":
        write_store(folder / "zstd.zarr", images, None, objects, kind, compression="zstd")
    np.save(folder / "images.npy", images)
    _write_files(folder / "files", kind, images, files)
    _write_tars(folder / "webdataset", kind, images, files)
    if files:
        return
    for write in (_write_litdata, _write_arrow, _write_ffcv):
        with contextlib.suppress(ImportError):
            write(folder, images)


def write_store(path: Path, images: np.ndarray, files: list[bytes] | None, objects: int, kind: str,
                compression: str | None = None) -> None:  # fmt: skip
    """Our store of so many objects."""
    stored, encoding = (objects, *images.shape[1:]), None
    if files:
        stored = (objects, encoded.row_bytes(max(map(len, files))))
        encoding = Encoding(format=kind, height=images.shape[1], width=images.shape[2])
    writer = create(path, shape=stored, dtype=images.dtype, bands=0, encoding=encoding,
                    compression=compression)  # fmt: skip
    for start, stop in writer.shards:
        rows = np.arange(start, stop) % len(images)
        if files:
            writer.write_encoded(start, [files[row] for row in rows])
        else:
            writer.write_images(start, images[rows])
    unknown = np.full(objects, np.nan)
    writer.write_table({"object_id": np.array([f"T{i:08d}" for i in range(objects)]), "ra": unknown, "dec": unknown,
                        "split": np.zeros(objects, np.uint8), "label": np.full(objects, -1, np.int16)})  # fmt: skip
    writer.finish(StoreInfo(
        name="benchmark", survey="none", release="0", bands=(), class_names=(), pixel_scale=None, recipe={},
        channels=tuple(f"c{i}" for i in range(images.shape[3])), counts={"kept": objects},
    ))  # fmt: skip


def _encoded(image: np.ndarray, kind: str) -> bytes:
    stream = io.BytesIO()
    Image.fromarray(image).save(stream, kind, **({"quality": 90} if kind == "jpeg" else {}))
    return stream.getvalue()


def _write_files(folder: Path, kind: str, images: np.ndarray, files: list[bytes] | None) -> None:
    folder.mkdir()
    for number, image in enumerate(images):
        if kind == "bands":
            np.save(folder / f"{number:06d}.npy", image)
        else:
            data = files[number] if files else _encoded(image, "png")
            (folder / f"{number:06d}.{kind if files else 'png'}").write_bytes(data)


def _write_tars(folder: Path, kind: str, images: np.ndarray, files: list[bytes] | None) -> None:
    folder.mkdir()
    for first in range(0, len(images), SHARD):
        with tarfile.open(folder / f"{first:06d}.tar", "w") as tar:
            for number in range(first, min(first + SHARD, len(images))):
                data = files[number] if files else images[number].tobytes()
                entry = tarfile.TarInfo(f"{number:06d}.{kind if files else 'raw'}")
                entry.size = len(data)
                tar.addfile(entry, io.BytesIO(data))


def _write_litdata(folder: Path, images: np.ndarray) -> None:
    import torch
    from litdata.streaming.writer import BinaryWriter

    (folder / "litdata").mkdir()
    writer = BinaryWriter(str(folder / "litdata"), chunk_bytes="16MB")
    for number, image in enumerate(images):
        writer[number] = torch.from_numpy(image)
    writer.done()
    writer.merge()


def _write_arrow(folder: Path, images: np.ndarray) -> None:
    import datasets

    datasets.disable_progress_bars()
    table = datasets.Dataset.from_dict({"raw": [image.tobytes() for image in images]},
                                       features=datasets.Features({"raw": datasets.Value("binary")}))  # fmt: skip
    table.save_to_disk(str(folder / "arrow"))


class _Rows:
    def __init__(self, images: np.ndarray):
        self.images = images

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, index: int) -> tuple[np.ndarray]:
        return (self.images[index],)


def _write_ffcv(folder: Path, images: np.ndarray) -> None:
    from ffcv.fields import NDArrayField
    from ffcv.writer import DatasetWriter

    field = NDArrayField(dtype=images.dtype, shape=images.shape[1:])
    DatasetWriter(str(folder / "images.beton"), {"image": field}, num_workers=1).from_indexed_dataset(_Rows(images))
