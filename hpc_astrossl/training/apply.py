"""A finished run put to use: features (``embed``) and answers (``predict``) for a store or a folder of images."""

import csv
import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image, UnidentifiedImageError
from safetensors.torch import load_file

from hpc_astrossl import config, names
from hpc_astrossl.engines import open_engine
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside
from hpc_astrossl.loading import LoaderSpec, open_loader
from hpc_astrossl.loading.reference import scale
from hpc_astrossl.nets.vgg import VGG16, empty, pooled
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.store import StoreInfo, open_store
from hpc_astrossl.training.folder import RunFolder

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff")


@dataclass(frozen=True, kw_only=True)
class Trained:
    """A finished run: its configuration, its result, its network, and the (height, width) it was trained on."""

    run: RunSpec
    result: dict[str, Any]
    model: VGG16
    size: tuple[int, int]

    @property
    def target(self):
        """The run's target, as its result describes it."""
        fields = dict.fromkeys(StoreInfo.__dataclass_fields__)
        known = {key: tuple(self.result[key]) for key in ("class_names", "bands")}
        info = StoreInfo(**fields | known | {"name": self.result["store"]["name"]})
        return names.resolve(names.TARGETS, self.run.data.target, "target")(info)


def open_trained(path: Path) -> Trained:
    """Read a run folder; InputError when the run is not done."""
    result = RunFolder(path).result()
    if result is None:
        raise InputError(f"{path}: not the folder of a finished run (there is no result.json in it)")
    run = config.load(path / "config.yaml", RunSpec)
    weights = load_file(path / "weights.safetensors")
    with np.load(path / "cutouts.npz", allow_pickle=False) as cutouts:
        height, width = cutouts["images"].shape[1:3]
    channels, outputs = weights["features.0.weight"].shape[1], len(weights["head.output.bias"])
    model = empty(run.model, shape=(height, width, channels), outputs=outputs)
    model.load_state_dict(weights)
    return Trained(run=run, result=result, model=model, size=(height, width))


def embed(path: Path, source: Path) -> tuple[np.ndarray, np.ndarray]:
    """Object ids (N,) and pooled features (N, 512) float32 of a store or a folder of images."""
    ids, features, _ = _encoded(open_trained(path), source)
    return ids, pooled(features).numpy()


def predict(path: Path, source: Path) -> dict[str, np.ndarray]:
    """Columns by name: ``object_id``, then ``class`` and a probability a class, or a magnitude a band."""
    trained = open_trained(path)
    ids, _, raw = _encoded(trained, source)
    answer, target = trained.target.answer(raw).numpy(), trained.run.data.target
    if target != "classes":
        return {"object_id": ids, **dict(zip(trained.result["bands"], answer.T, strict=True))}
    classes = np.array(trained.result["class_names"])
    probabilities = {f"p_{name}": column for name, column in zip(classes, answer.T, strict=True)}
    return {"object_id": ids, "class": classes[answer.argmax(axis=1)], **probabilities}


def write_table(path: Path, columns: dict[str, np.ndarray]) -> None:
    """Write columns as ``.csv`` when the name ends so, else as ``.npz``."""
    if path.suffix == ".csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*(column.tolist() for column in columns.values()), strict=True))
        data = text.getvalue().encode()
    else:
        buffer = io.BytesIO()
        np.savez_compressed(buffer, **columns)
        data = buffer.getvalue()
    path.parent.mkdir(parents=True, exist_ok=True)
    write_aside(path, data)


@torch.no_grad()
def _encoded(trained: Trained, source: Path) -> tuple[np.ndarray, torch.Tensor, torch.Tensor]:
    """Object ids, features (N, D) and raw outputs (N, outputs) of every object, on the CPU."""
    with open_engine("single", trained.run.device) as engine:
        model = trained.model.to(engine.device)
        if (source / "zarr.json").exists():
            ids, batches = _store_batches(trained, source, engine)
        else:
            ids, batches = _picture_batches(trained, source)
        features = [model.encode(images.to(engine.device)) for images in batches]
        raw = [model.head(part).cpu() for part in features]
    return ids, torch.cat([part.cpu() for part in features]), torch.cat(raw)


def _store_batches(trained: Trained, path: Path, engine) -> tuple[np.ndarray, Iterator[torch.Tensor]]:
    store, data = open_store(path), trained.run.data
    expected = (*trained.size, trained.model.features[0].in_channels)
    if store.image_shape != expected:
        raise InputError(f"{path}: images are {store.image_shape} (height, width, channels), the run takes {expected}")
    spec = LoaderSpec(batch_size=data.batch_size, scaling=data.scaling, flips=False, turns=False, seed=0,
                      resident_mb=data.resident_mb)  # fmt: skip
    loader = open_loader(store, store.usable, spec, engine=engine, device=engine.device)
    return store.table["object_id"][store.usable], (batch.images for batch in loader.evaluate())


def _picture_batches(trained: Trained, folder: Path) -> tuple[np.ndarray, Iterator[torch.Tensor]]:
    """The pictures of a folder by name; each is cut to its central square and resized to the run's size."""
    if not folder.is_dir():
        raise InputError(f"{folder}: neither a store nor a folder of images")
    files = sorted(file for file in folder.iterdir() if file.suffix.lower() in PICTURES)
    if not files:
        raise InputError(f"{folder}: no images in it ({', '.join(PICTURES)})")
    if trained.model.features[0].in_channels != 3:
        raise InputError(f"{folder}: images have red, green and blue, the run takes "
                         f"{trained.model.features[0].in_channels} channels; give it a store")  # fmt: skip
    size = trained.run.data.batch_size
    batches = (
        torch.from_numpy(np.stack([_picture(file, trained) for file in files[start : start + size]]))
        for start in range(0, len(files), size)
    )
    return np.array([file.stem for file in files]), batches


def _picture(file: Path, trained: Trained) -> np.ndarray:
    """One image as the network takes it, float32 (3, height, width)."""
    try:
        with Image.open(file) as opened:
            image = opened.convert("RGB")
    except (UnidentifiedImageError, OSError) as error:
        raise InputError(f"{file}: cannot be read as an image ({error})") from None
    side = min(image.size)
    left, top = (image.width - side) // 2, (image.height - side) // 2
    height, width = trained.size
    square = image.crop((left, top, left + side, top + side)).resize((width, height), Image.Resampling.LANCZOS)
    return scale(np.asarray(square), trained.run.data.scaling).transpose(2, 0, 1)
