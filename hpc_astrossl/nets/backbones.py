"""Networks of torchvision beside VGG16: whole, without their last layer, under their own names.

Batch normalisation is frozen unless asked for: its statistics are those of the weights that a run begins with, or of
training images, measured once before the first step (``settle``). So every rank and every batch computes the same.
"""

import functools
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import sobel
from hpc_astrossl.nets.vgg import SHRINK, VGG16, Head, allocate, begin_head, generator, working_precision
from hpc_astrossl.nets.vgg import build as build_vgg
from hpc_astrossl.nets.vgg import empty as empty_vgg
from hpc_astrossl.specs.backbones import BACKBONES
from hpc_astrossl.specs.run import ModelSpec

Shape = tuple[int, int, int]
LAYER_SCALE = 1e-6  # of ConvNeXt's blocks at first, as published


class FrozenNorm(nn.BatchNorm2d):
    """Batch normalisation by its running statistics, in training too; scale and offset learn."""

    settling = False

    def forward(self, maps: Tensor) -> Tensor:
        """Normalised maps; while settling, by the statistics of these, which are noted."""
        if self.settling:
            with torch.no_grad():
                self.running_mean.copy_(maps.mean(dim=(0, 2, 3)))
                self.running_var.copy_(maps.var(dim=(0, 2, 3), unbiased=False))
        return F.batch_norm(maps, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)


def torso(spec: ModelSpec) -> nn.Module:
    """Images to features (B, width): torchvision's network without its last layer, and without random depth."""
    import torchvision  # takes as long as torch itself, and VGG16 does without

    norm = nn.BatchNorm2d if spec.norm == "batch" else FrozenNorm
    make: Callable[..., nn.Module] = getattr(torchvision.models, spec.backbone)
    if spec.backbone.startswith("resnet"):
        model = make(weights=None, norm_layer=norm)
        model.fc = nn.Identity()
    elif spec.backbone == "efficientnet_b0":
        model = make(weights=None, norm_layer=norm, stochastic_depth_prob=0.0)
        model.classifier = nn.Identity()
    else:
        model = make(weights=None, stochastic_depth_prob=0.0)
        model.classifier[2] = nn.Identity()
    return model


class Network(nn.Module):
    """A backbone and the paper's head, with the manners of ``VGG16``."""

    def __init__(self, spec: ModelSpec, *, shape: Shape, outputs: int):
        super().__init__()
        self.channels, self.precision = shape[2], spec.precision
        self.features = torso(spec)
        if self.channels != 3:
            widen(self.features, BACKBONES[spec.backbone].first, self.channels)
        if spec.sobel:
            sobel.add(self.features, self.channels)
        self.head = Head(BACKBONES[spec.backbone].width, outputs, spec)

    def encode(self, images: Tensor, features: nn.Module | None = None) -> Tensor:
        """What the head sees of images: (B, width), the average over the last map."""
        features = self.features if features is None else features
        low = working_precision(self.precision, images.device) == "bfloat16"
        seen = sobel.shown(features, images)
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            return features(seen.contiguous(memory_format=torch.channels_last)).to(images.dtype)

    def pooled(self, features: Tensor) -> Tensor:
        """``encode``'s features: they are pooled."""
        return features

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Raw outputs (B, outputs); see ``Head.forward`` for ``keep``."""
        return self.head(self.encode(images), keep)


def widen(model: nn.Module, first: str, channels: int) -> None:
    """Put a first convolution for so many channels in the place of that for three."""
    parent, _, name = first.rpartition(".")
    holder, old = model.get_submodule(parent), model.get_submodule(first)
    new = nn.Conv2d(channels, old.out_channels, old.kernel_size, old.stride, old.padding, bias=old.bias is not None)
    if isinstance(holder, nn.Sequential):
        holder[int(name)] = new
    else:
        setattr(holder, name, new)


def empty(spec: ModelSpec, *, shape: Shape, outputs: int) -> VGG16 | Network:
    """A network of ``spec.backbone`` for images of ``shape`` whose weights are yet to be loaded, on the CPU."""
    if spec.backbone == "vgg16":
        return empty_vgg(spec, shape=shape, outputs=outputs)
    if min(shape[:2]) < SHRINK:
        raise InputError(f"images of {shape[0]} × {shape[1]} pixels are too small for {spec.backbone}: at least "
                         "32 × 32 are needed; set a larger cutout size in the recipe")  # fmt: skip
    with torch.device("meta"):
        model = Network(spec, shape=shape, outputs=outputs)
    allocate(model)
    if spec.sobel:
        model.features.sobel.copy_(sobel.kernels())
    return model.eval()


def build(spec: ModelSpec, *, shape: Shape, outputs: int, seed: int) -> VGG16 | Network:
    """A network begun from ``seed``: He's initialisation (fan in), normalisations that do nothing yet, zero biases."""
    if spec.backbone == "vgg16":
        return build_vgg(spec, shape=shape, outputs=outputs, seed=seed)
    model, source = empty(spec, shape=shape, outputs=outputs), generator(seed)
    for module in model.features.modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            nn.init.kaiming_normal_(module.weight, nonlinearity="relu", generator=source)
            if module.bias is not None:
                nn.init.zeros_(module.bias)
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_parameters()
        elif isinstance(module, nn.LayerNorm):
            nn.init.ones_(module.weight)
            nn.init.zeros_(module.bias)
        elif hasattr(module, "layer_scale"):
            nn.init.constant_(module.layer_scale, LAYER_SCALE)
    begin_head(model.head, source)
    return model


@torch.no_grad()
def settle(model: nn.Module, images: Tensor) -> None:
    """Let frozen normalisations take their statistics from these images, (N, channels, height, width); once."""
    frozen = [module for module in model.modules() if isinstance(module, FrozenNorm)]
    for module in frozen:
        module.settling = True
    model.encode(images)
    for module in frozen:
        module.settling = False


def has_statistics(model: nn.Module) -> bool:
    """Whether there are normalisations to settle."""
    return any(isinstance(module, FrozenNorm) for module in model.modules())


@functools.cache
def expected(backbone: str) -> dict[str, torch.Size]:
    """Names and shapes of a backbone's tensors, as torchvision names them, for three channels."""
    with torch.device("meta"):
        return {name: tensor.shape for name, tensor in torso(ModelSpec(backbone=backbone)).state_dict().items()}
