"""VGG16 as the paper uses it: torchvision's convolutions, pooling, one hidden layer with max-norm and dropout.

Parameters of the convolutions carry torchvision's names (``features.0.weight`` …), those of the top ``head.*``.
Everything random is drawn from a seed alone: the global random state is neither read nor changed.
"""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor, nn

from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import sobel
from hpc_astrossl.specs.run import ModelSpec

# Outputs of the convolutions between two poolings: configuration D of Simonyan & Zisserman (2015), table 1.
BLOCKS = ((64, 64), (128, 128), (256, 256, 256), (512, 512, 512), (512, 512, 512))
CHANNELS = 512  # of the last convolution
SHRINK = 32  # five poolings halve each side: 32 pixels become one
FEW_PIXELS = 64 * 32 * 32  # in a batch: below, a CPU spends more on turning weights than channels-last images save it


class Head(nn.Module):
    """Linear → ReLU → dropout → linear, on the pooled output of the convolutions."""

    def __init__(self, inputs: int, outputs: int, spec: ModelSpec):
        super().__init__()
        self.dropout, self.max_norm = spec.dropout, spec.max_norm
        self.hidden = nn.Linear(inputs, spec.hidden)
        self.output = nn.Linear(spec.hidden, outputs)

    def forward(self, features: Tensor, keep: Tensor | None = None) -> Tensor:
        """Raw outputs (B, outputs) of features (B, inputs); ``keep`` (B, hidden) says which hidden units stay."""
        hidden = torch.relu(self.hidden(features))
        if keep is not None:
            hidden = hidden * keep / (1 - self.dropout)
        return self.output(hidden)

    @torch.no_grad()
    def answers(self, features: Tensor, together: int = 1024) -> Tensor:
        """Raw outputs (N, outputs), on the CPU, of features (N, inputs), ``together`` at a time."""
        return torch.cat([self(part).cpu() for part in features.split(together)])

    @torch.no_grad()
    def constrain(self) -> None:
        """Shorten each hidden unit's incoming weights to at most ``max_norm``; after every optimiser step."""
        if self.max_norm is not None:
            constrain(self.hidden.weight, self.max_norm)

    def keep(self, total: int, key: tuple[int, int, int]) -> Tensor | None:
        """The dropout mask (total, hidden) of a whole global batch, on the CPU; None without dropout.

        ``key`` is (seed, epoch, step): the mask is a function of it alone, so that a rank that takes its slice, and
        a run that is resumed, see what one undisturbed process sees.
        """
        if self.dropout == 0:
            return None
        uniform = torch.rand(total, self.hidden.out_features, generator=generator(*key))
        return uniform >= self.dropout


def constrain(weight: Tensor, longest: float) -> None:
    """Shorten the vectors along the last axis of ``weight`` to at most ``longest``, in place, as ``renorm`` does.

    Most steps shorten none: then a CPU, where memory is the limit, only reads.
    """
    norms = torch.linalg.vector_norm(weight, dim=-1, keepdim=True)
    if weight.device.type != "cpu" or (norms > longest).any():
        weight.mul_(torch.where(norms > longest, longest / (norms + 1e-7), 1.0))


def convolutions(channels: int = 3) -> nn.Sequential:
    """VGG16's, each layer where torchvision's ``features`` has it; torchvision itself would take as long to import as
    torch."""
    layers: list[nn.Module] = []
    for block in BLOCKS:
        for outputs in block:
            layers += [nn.Conv2d(channels, outputs, kernel_size=3, padding=1), nn.ReLU(inplace=True)]
            channels = outputs
        layers.append(nn.MaxPool2d(2))
    return nn.Sequential(*layers)


class VGG16(nn.Module):
    """The whole network: images (B, channels, height, width) to raw outputs (B, outputs)."""

    def __init__(self, spec: ModelSpec, *, shape: tuple[int, int, int], outputs: int):
        super().__init__()
        height, width, channels = shape
        self.features = convolutions(channels)
        if spec.sobel:
            sobel.add(self.features, channels)
        self.pooling, self.precision, self.channels = spec.pooling, spec.precision, channels
        cells = (height // SHRINK) * (width // SHRINK) if spec.pooling == "flatten" else 1
        self.head = Head(CHANNELS * cells, outputs, spec)

    def encode(self, images: Tensor, features: nn.Module | None = None) -> Tensor:
        """What the head sees of images: (B, 512), or (B, 512 × cells) when the last map is flattened.

        ``features`` are other convolutions of the same kind, in the place of its own.
        """
        features = self.features if features is None else features
        low = working_precision(self.precision, images.device) == "bfloat16"
        seen = sobel.shown(features, images)
        few = images.device.type == "cpu" and images[:, 0].numel() < FEW_PIXELS
        layout = torch.contiguous_format if few else torch.channels_last
        with torch.autocast(images.device.type, torch.bfloat16, enabled=low):
            maps = features(seen.contiguous(memory_format=layout)).to(images.dtype)
        return maps.mean(dim=(2, 3)) if self.pooling == "average" else maps.flatten(1)

    def pooled(self, features: Tensor) -> Tensor:
        """The average over the last map, (B, 512), of what ``encode`` returned, whichever the pooling."""
        return features.unflatten(1, (CHANNELS, -1)).mean(-1)

    def forward(self, images: Tensor, keep: Tensor | None = None) -> Tensor:
        """Raw outputs (B, outputs); see ``Head.forward`` for ``keep``."""
        return self.head(self.encode(images), keep)


@contextlib.contextmanager
def steady(device: torch.device) -> Iterator[None]:
    """While this lasts no gradients are wanted and weights do not change: they are made bfloat16 once, for all batches.

    Autocast keeps the copies until the outermost of its contexts ends; without this one each batch is the outermost.
    The numbers are the same, bit for bit.
    """
    with torch.no_grad(), torch.autocast(device.type, enabled=False):
        yield


def working_precision(precision: str, device: torch.device) -> str:
    """What the convolutions compute in on that device: "float32" or "bfloat16"."""
    if precision != "auto":
        return precision
    return "bfloat16" if device.type == "cuda" and torch.cuda.is_bf16_supported() else "float32"


def emulated(precision: str, device: torch.device) -> bool:
    """Whether that device has no instructions for the precision: a CPU then takes many times as long as in float32."""
    low = working_precision(precision, device) == "bfloat16"
    return low and device.type == "cpu" and not torch.ops.mkldnn._is_mkldnn_bf16_supported()


def begin_head(head: Head, source: torch.Generator) -> None:
    """Draw a head as ``build`` does."""
    nn.init.kaiming_normal_(head.hidden.weight, nonlinearity="relu", generator=source)
    nn.init.normal_(head.output.weight, std=0.01, generator=source)
    for layer in (head.hidden, head.output):
        nn.init.zeros_(layer.bias)


def empty(spec: ModelSpec, *, shape: tuple[int, int, int], outputs: int) -> VGG16:
    """A network for images of ``shape`` (height, width, channels) whose weights are yet to be loaded, on the CPU.

    InputError when the images are smaller than 32 pixels.
    """
    if min(shape[:2]) < SHRINK:
        raise InputError(f"images of {shape[0]} × {shape[1]} pixels are too small for VGG16: at least 32 × 32 are "
                         "needed; set a larger cutout size in the recipe")  # fmt: skip
    with torch.device("meta"):  # without drawing torch's own initial values
        model = VGG16(spec, shape=shape, outputs=outputs)
    allocate(model)
    if spec.sobel:
        model.features.sobel.copy_(sobel.kernels())
    return model


def allocate(model: nn.Module) -> None:
    """Give a model without memory some on the CPU, not filled, as ``to_empty`` does, which takes sympy for it."""
    for module in model.modules():
        for name, tensor in [*module.named_parameters(recurse=False)]:
            setattr(module, name, nn.Parameter(torch.empty(tensor.shape, dtype=tensor.dtype), tensor.requires_grad))
        for name, tensor in [*module.named_buffers(recurse=False)]:
            setattr(module, name, torch.empty(tensor.shape, dtype=tensor.dtype))


def build(spec: ModelSpec, *, shape: tuple[int, int, int], outputs: int, seed: int) -> VGG16:
    """A network begun from ``seed``; see ``empty`` for the rest.

    He's normal initialisation in forward mode (fan in) for all layers under a ReLU, so that a signal keeps its size
    through thirteen convolutions without batch normalisation (He et al. 2015); N(0, 0.01) for the output layer, as
    torchvision has it; biases are zero.
    """
    model, source = empty(spec, shape=shape, outputs=outputs), generator(seed)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            nn.init.zeros_(parameter)
        elif name == "head.output.weight":
            nn.init.normal_(parameter, std=0.01, generator=source)
        else:
            nn.init.kaiming_normal_(parameter, nonlinearity="relu", generator=source)
    return model


def generator(*key: int) -> torch.Generator:
    """A CPU generator whose stream is a function of the whole numbers ``key`` alone."""
    state = np.random.SeedSequence(key).generate_state(1, np.uint64)[0]
    return torch.Generator().manual_seed(int(state) >> 1)  # 63 bits: manual_seed takes no more
