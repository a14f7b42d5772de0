"""A finished run's convolutions for others: torchvision's state dict, and a card that says what they are."""

import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save

from hpc_astrossl import identity, provenance
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside, written
from hpc_astrossl.nets import seen, sobel, weights
from hpc_astrossl.specs.backbones import BACKBONES
from hpc_astrossl.specs.run import RunSpec
from hpc_astrossl.training.folder import ANYWAY, WEIGHTS, RunFolder
from hpc_astrossl.training.lineage import of_run

SCALINGS = {
    "unit": "bytes 0..255 times 1/255",
    "caffe": "bytes 0..255 minus (123.68, 116.779, 103.939) of red, green, blue",
    "imagenet": "bytes 0..255 times 1/255, minus (0.485, 0.456, 0.406), over (0.229, 0.224, 0.225)",
    "none": "the store's numbers as they are",
    "standard": "each channel minus its mean, over its deviation, of the training split (the store's statistics)",
    "asinh": "asinh of each channel over its noise (the store's statistics)",
}
ARCHITECTURE = "VGG16 convolutions (torchvision `features`), 13 layers without batch normalisation"
LOADING = """\
import torch
from torchvision.models import {backbone}
{read}
model = {backbone}(weights=None){wide}
model.load_state_dict(state, strict=False)  # the classifier keeps its own beginning"""

GRADIENT = """
kernels = state.pop("{name}")
shown = lambda images: torch.nn.functional.pad(
    torch.nn.functional.conv2d(images.mean(1, keepdim=True), kernels, padding=1), (0, 0, 0, 0, 0, images.shape[1] - 2)
)  # of images (batch, channels, height, width): what the model takes, their gradient"""


def export(run: Path, file: Path, *, anyway: bool = False) -> Path:
    """Write ``features.*`` of a run under torchvision's names; returns the path of the model card beside.

    What the run has seen goes into ``FILE.seen.npz``, for the leakage check of who begins from these weights.

    InputError when the run is not done or (not so ``anyway``) out of date, or the file is neither ``.safetensors`` nor
    ``.pth``.
    """
    result, spec = RunFolder(run).held(None if anyway else ANYWAY)
    if file.suffix not in (".safetensors", ".pth"):
        raise InputError(f"{file}: weights are exported as .safetensors or .pth")
    tensors, _ = weights.read_whole(run / WEIGHTS, RunFolder(run).weights_digest())
    prefix = "" if spec.model.backbone == "vgg16" else "features."  # of others it is ours, not torchvision's
    state = {name.removeprefix(prefix): t for name, t in tensors.items() if name.startswith("features.")}
    mark = {weights.MARK: result["run_id"]}
    if file.suffix == ".pth":
        buffer, state = io.BytesIO(), OrderedDict(state)
        state._metadata = OrderedDict({"": {"version": 1, **mark}})  # as torch's own state dicts have it
        torch.save(state, buffer)
        data = buffer.getvalue()
    else:
        data = save(state, metadata=mark)
    with written(file):
        file.parent.mkdir(parents=True, exist_ok=True)
    seen.write(file, of_run(run, {name: t for name, t in tensors.items() if name.startswith("features.")}))
    with written(file):
        write_aside(file, data)
    card = file.with_name(file.name + ".md")
    channels = tensors[weights.first_layer(spec.model.backbone)].shape[1]
    with written(card):
        write_aside(card, _card(spec, result, file, channels).encode())
    return card


def _architecture(spec: RunSpec) -> str:
    name, found = spec.model.backbone, BACKBONES[spec.model.backbone]
    if name == "vgg16":
        return ARCHITECTURE
    norm = f"{found.norm}, {spec.model.norm}" if found.norm == "batch" else found.norm
    return f"{found.about} (torchvision {name}) without its last layer; normalisation: {norm}"


def _card(spec: RunSpec, result: dict[str, Any], file: Path, channels: int) -> str:
    """The card, in Markdown: what the weights are, how to load them, what they scored, whom to cite."""
    read = "state = torch.load({!r}, weights_only=True)"
    if file.suffix == ".safetensors":
        read = "from safetensors.torch import load_file; state = load_file({!r})"
    backbone, first = spec.model.backbone, BACKBONES[spec.model.backbone].first
    wide = "" if channels == 3 else f"; model.features[0] = torch.nn.Conv2d({channels}, 64, 3, padding=1)"
    if backbone != "vgg16":
        wide = "" if channels == 3 else f"  # then put a convolution for {channels} channels at {first}"
    store, code = result["store"], result["provenance"]["code"]
    if spec.model.sobel:
        wide += GRADIENT.format(name=weights.GRADIENTS if backbone == "vgg16" else sobel.BUFFER)
    asked = result["class_names"] if result["target"] == "classes" else result["bands"]
    if "pretext" in result:
        asked = [f"{name} {value}" for name, value in result["pretext"]["switches"].items()]
    rows = {
        "architecture": _architecture(spec),
        "trained on": f"{store['name']} of {store['survey']} {store['release']}, {result['objects']['train']} objects",
        "store": f"manifest SHA-256 {store.get('sha256') or identity.UNKNOWN}",
        "task": f"{result['target']}: {', '.join(asked)}",
        "scheme": f"{result['scheme']}, begun from {_beginning(result['weights'])}",
        "input": f"{channels} channels, float32 (batch, channel, height, width), at least 32 × 32; "
                 f"{SCALINGS[spec.data.scaling]}",
        "run": f"{result['run_id']}, seed {result['seed']}, {result['epochs']} epochs, best {result['best_epoch']}",
        "code": f"hpc_astrossl {code['version']}, commit {code['commit']}",
        "SHA-256": provenance.sha256(file),
    }  # fmt: skip
    metrics = [
        f"| {name} | {result['metrics']['validation'][name]:.4f} | {value:.4f} |"
        for name, value in result["metrics"]["test"].items()
        if isinstance(value, float)
    ]
    return "\n".join([
        f"# {file.name}", "", *(f"- **{key}**: {value}" for key, value in rows.items()), "",
        "```python", LOADING.format(read=read.format(file.name), wide=wide, backbone=backbone), "```", "",
        "| metric | validation | test |", "|---|---|---|", *metrics, "",
        "The validation split chose the epoch; the test split was looked at once.", "",
        "Method: A. Martinazzo, M. Espadoto, N. S. T. Hirata (2020), Self-supervised learning for astronomical image "
        "classification, arXiv:2004.11336. Cite it, this software (CITATION.cff) and the survey.", "",
    ])  # fmt: skip


def _beginning(source: dict[str, Any]) -> str:
    """The initial weights in words."""
    if not source["name"]:
        return "random weights"
    return f"{source['name']} (SHA-256 {source['sha256'] or identity.UNKNOWN})"
