"""The networks that a run may have, as records that a login node can list: ``model.backbone``."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """One network. ``first`` is its first convolution, ``width`` the number of its features, ``norm`` what it holds."""

    about: str
    first: str
    width: int
    norm: str  # none, layer (of one object: ranks agree by themselves), or batch


BACKBONES: dict[str, Backbone] = {
    "vgg16": Backbone(about="VGG16 convolutions, the paper's", first="0", width=512, norm="none"),
    "resnet18": Backbone(about="ResNet-18", first="conv1", width=512, norm="batch"),
    "resnet50": Backbone(about="ResNet-50", first="conv1", width=2048, norm="batch"),
    "convnext_tiny": Backbone(about="ConvNeXt-Tiny", first="features.0.0", width=768, norm="layer"),
    "efficientnet_b0": Backbone(about="EfficientNet-B0", first="features.0.0", width=1280, norm="batch"),
}


def imagenet(backbone: str) -> str:
    """The name under which a backbone's ImageNet weights lie in the cache."""
    return f"imagenet-{backbone}"


def backbone_of(weights: str) -> str:
    """The backbone that weights of that name are for: ``imagenet-NAME``'s own, else vgg16."""
    name = weights.removeprefix("imagenet-")
    return name if weights.startswith("imagenet-") and name in BACKBONES else "vgg16"
