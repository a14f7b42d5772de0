"""Weights of the convolutions as files: read, checked against VGG16, put into the cache, fetched, listed.

Files are safetensors; a torchvision ``.pth`` is read with ``weights_only``, so that no code in it can run.
"""

import hashlib
import urllib.error
import urllib.request
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
from safetensors import safe_open
from safetensors.torch import load, load_file, save
from torch import Tensor

from hpc_astrossl import provenance
from hpc_astrossl.cache import BUNDLED, BUNDLED_FOLDER, cache_folder, found_weights, seen_file, weights_file
from hpc_astrossl.errors import InputError, unknown
from hpc_astrossl.files import write_aside, written
from hpc_astrossl.identity import UNKNOWN, both
from hpc_astrossl.names import IMAGENET
from hpc_astrossl.nets import seen, sobel
from hpc_astrossl.nets.backbones import expected
from hpc_astrossl.nets.vgg import convolutions
from hpc_astrossl.specs.backbones import BACKBONES, backbone_of, imagenet

PREFIX, COUNT = "features.", "num_batches_tracked"
GRADIENTS = PREFIX + sobel.BUFFER  # is there where they were learnt from gradients
MARK = "run_id"  # in the metadata of exported weights: whose they are
# The convolutions that take RGB 0..255 minus the ImageNet mean, which is what scaling "caffe" gives them. The end
# of the file's name is the beginning of its SHA-256. They are torchvision's addresses, which takes long to be asked.
SITE = "https://download.pytorch.org/models/"
SOURCES = {
    IMAGENET: SITE + "vgg16_features-amdegroot-88682ab5.pth",
    imagenet("resnet18"): SITE + "resnet18-f37072fd.pth",
    imagenet("resnet50"): SITE + "resnet50-0676ba61.pth",
    imagenet("convnext_tiny"): SITE + "convnext_tiny-983f1562.pth",
    imagenet("efficientnet_b0"): SITE + "efficientnet_b0_rwightman-7f5810bc.pth",
}
# torchvision's own training, IMAGENET1K_V1: for images ÷ 255, then by mean and deviation. Another input altogether.
OTHER_SCALING = SITE + "vgg16-397923af.pth"


def read(path: Path, backbone: str = "vgg16") -> dict[str, Tensor]:
    """A backbone's weights in a safetensors, ``.pth`` or ``.pt`` file, checked: names, shapes, finite numbers.

    InputError when the file is missing, holds anything else, or would run code when read.
    """
    if not path.exists():
        raise InputError(f"{path}: no such file")
    if path.suffix not in (".safetensors", ".pth", ".pt"):
        raise InputError(f"{path}: weights are read from .safetensors, .pth or .pt files")
    try:
        if path.suffix == ".safetensors":
            tensors = load_file(path)
        else:
            _check_sums(path)
            tensors = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged or foreign file makes the readers raise is the finding
        reason = (str(error).splitlines() or [type(error).__name__])[0][:200]
        raise InputError(f"{path}: not a file of plain weights, or damaged; nothing in it was run ({reason})") from None
    if not isinstance(tensors, Mapping):
        raise InputError(f"{path}: expected tensors by name (a state dict), found {type(tensors).__name__}")
    tensors = {str(name): tensor for name, tensor in tensors.items()}
    if backbone != "vgg16":
        if first_layer(backbone) not in tensors:  # torchvision's own names
            tensors = {PREFIX + name: tensor for name, tensor in tensors.items()}
        counts = [name for name in wanted(backbone) if name.endswith(COUNT)]  # older files lack them
        tensors = {name: torch.zeros((), dtype=torch.int64) for name in counts} | tensors
    return checked({name: t for name, t in tensors.items() if name.startswith(PREFIX)}, str(path), backbone)


def _check_sums(path: Path) -> None:
    """Hold the members of torch's zip archive against their checksums, which torch does not: a flipped bit would load.

    Archives of before torch 1.6 are none, and have no checksums.
    """
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if name := archive.testzip():
                raise ValueError(f"{name} is not what its checksum says")


def first_layer(backbone: str) -> str:
    """The name of a backbone's first weights, which go by the number of channels."""
    return f"{PREFIX}{BACKBONES[backbone].first}.weight"


def wanted(backbone: str) -> dict[str, torch.Size]:
    """Names and shapes of a backbone's tensors, for three channels."""
    if backbone != "vgg16":
        return {PREFIX + name: shape for name, shape in expected(backbone).items()}
    with torch.device("meta"):
        return {PREFIX + name: p.shape for name, p in convolutions().named_parameters()}


def checked(tensors: dict[str, Tensor], where: str, backbone: str = "vgg16") -> dict[str, Tensor]:
    """``tensors`` as float32 when they are that backbone's, for any number of channels; else InputError."""
    whose, first = "VGG16" if backbone == "vgg16" else backbone, first_layer(backbone)
    needed = wanted(backbone)
    if missing := sorted(set(needed) - set(tensors)):
        raise InputError(f"{where}: not {whose}'s convolutions: {len(missing)} of {len(needed)} tensors are missing, "
                         f"first {missing[0]}")  # fmt: skip
    for name, shape in needed.items():
        if not isinstance(tensors[name], Tensor):
            raise InputError(f"{where}: {name} is {type(tensors[name]).__name__}, expected a tensor")
        found = tensors[name].shape
        any_channels = name == first and found[:1] + found[2:] == shape[:1] + shape[2:]
        if found != shape and not any_channels:
            raise InputError(f"{where}: {name} has shape {tuple(found)}, {whose}'s is {tuple(shape)}")
    _require_finite({name: tensors[name] for name in needed}, where)
    marks = [GRADIENTS] if GRADIENTS in tensors else []
    kept = {name: tensors[name].contiguous() for name in (*needed, *marks)}
    return {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in kept.items()}


def read_whole(path: Path, sha256: str | None) -> tuple[dict[str, Tensor], str]:
    """The whole network's weights that a run left, and their SHA-256.

    InputError when they are missing, not finite, or damaged: not the file whose SHA-256 the run noted (None: by an
    earlier program, which noted none).
    """
    try:
        data = path.read_bytes()  # once: the tensors are those of the hash, whoever writes the file meanwhile
    except FileNotFoundError:
        raise InputError(f"{path}: no such file; the run folder is not complete") from None
    found = hashlib.sha256(data).hexdigest()
    if sha256 not in (None, found):
        raise InputError(f"{path}: damaged: it is not the file that its run wrote; bring it back, or train the "
                         f"run again, by astrossl submit --remake ({both(sha256, found)})")  # fmt: skip
    try:
        tensors = load(data)
    except Exception as error:  # as above
        raise InputError(f"{path}: damaged ({str(error)[:200]}); train the run again") from None
    _require_finite(tensors, str(path))
    return tensors, found


def _require_finite(tensors: Mapping[str, Tensor], where: str) -> None:
    for name, tensor in tensors.items():
        if not torch.isfinite(tensor).all():
            raise InputError(f"{where}: {name} holds numbers that are not finite")


def widened(tensors: dict[str, Tensor], channels: int, backbone: str = "vgg16") -> dict[str, Tensor]:
    """Convolutions for ``channels`` input channels, from those for three: the first layer takes the mean of its red,
    green and blue weights in every channel, times 3 / channels, so that an image that is alike in all channels gives
    what it gave (docs/decisions/more-channels.md)."""
    name = first_layer(backbone)
    first = tensors[name]
    mean = first.mean(dim=1, keepdim=True) * (first.shape[1] / channels)
    return tensors | {name: mean.repeat(1, channels, 1, 1)}


def digest(tensors: Mapping[str, Tensor]) -> str:
    """SHA-256 of the convolutions among ``tensors``, by name."""
    found = hashlib.sha256()
    for name in sorted(name for name in tensors if name.startswith(PREFIX)):
        found.update(name.encode() + np.ascontiguousarray(tensors[name].numpy()).tobytes())
    return found.hexdigest()


def marked(path: Path) -> str | None:
    """The run that a weights file was exported from, as the file itself tells it; None where it does not."""
    try:
        if path.suffix == ".safetensors":
            with safe_open(path, "pt") as file:
                return (file.metadata() or {}).get(MARK)
        about = getattr(torch.load(path, map_location="meta", weights_only=True), "_metadata", {})
        return about.get("", {}).get(MARK)
    except Exception:  # ``read`` says what is wrong with it
        return None


def carried(file: Path, tensors: Mapping[str, Tensor], *, anyway: bool = False) -> seen.Carried | None:
    """What the weights in ``file``, which are ``tensors``, have seen; None where they are of no run.

    InputError when they are, and that is not beside them; with ``anyway`` nothing is known of it then.
    """
    run, found = marked(file), seen.read(file, digest(tensors))
    if found is not None or run is None:
        return found
    if not anyway:
        raise InputError(f"{file}: holds the weights of run {run}, and {seen_file(file).name}, which tells what that "
                         "run has seen, is not beside it; without it a leak cannot be found. Bring it, or export the "
                         "run again (--anyway of weights add takes them without)")  # fmt: skip
    nothing = {"object_id": np.empty(0, "U1"), "ra": np.empty(0), "dec": np.empty(0)}
    record = {"run": run, "weights_sha256": None, "store": UNKNOWN, "store_sha256": None, "begun_from": {},
              "certain": False}  # fmt: skip
    return seen.Carried(convolutions=digest(tensors), runs=(record,), of=np.empty(0, np.int64), objects=nothing)


def install(tensors: dict[str, Tensor], name: str, source: str, saw: seen.Carried | None = None) -> tuple[Path, str]:
    """Put convolutions into the cache under ``name``, and what they have seen. Returns the file and its SHA-256.

    Were this cut off in between, what is beside the weights would be of others, which is noticed.
    """
    path = weights_file(name)
    mark = {MARK: str(saw.runs[0]["run"])} if saw else {}
    with written(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        if saw:
            seen.write(path, saw)
        write_aside(path, save(tensors, metadata={"source": source, **mark}))
        if not saw:
            seen_file(path).unlink(missing_ok=True)
    return path, provenance.sha256(path)


def add(file: Path, name: str = IMAGENET, *, anyway: bool = False) -> tuple[Path, str]:
    """Copy a weights file into the cache, with what its run has seen. Returns where it lies and its SHA-256.

    InputError when it does not fit, or (not so ``anyway``) nothing tells what the run that it is of has seen.
    """
    backbone = backbone_of(name)
    tensors = read(file, backbone)
    if name == imagenet(backbone) and (channels := tensors[first_layer(backbone)].shape[1]) != 3:
        raise InputError(f"{file}: {name} weights take 3 channels, these take {channels}")
    if name == IMAGENET:
        prefix = _digest_prefix(OTHER_SCALING)
        if provenance.sha256(file).startswith(prefix):
            raise InputError(
                f"{file}: these are torchvision's IMAGENET1K_V1 weights, for images scaled by mean and deviation; "
                f"{IMAGENET} are those of IMAGENET1K_FEATURES, for RGB 0..255 minus the mean ({SOURCES[IMAGENET]})"
            )
    return install(tensors, name, source=file.name, saw=carried(file, tensors, anyway=anyway))


def fetch(name: str) -> tuple[Path, str]:
    """Download weights by name into the cache; the checksum in the address must hold. InputError without internet."""
    if name not in SOURCES:
        raise unknown("weights", name, SOURCES)
    url = SOURCES[name]
    try:
        with urllib.request.urlopen(url, timeout=60) as answer:
            data = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise InputError(
            f"{url}: cannot be fetched ({getattr(error, 'reason', error)}); on a machine with internet, fetch the "
            "file, copy it here, and run: astrossl weights add FILE"
        ) from None
    found, prefix = hashlib.sha256(data).hexdigest(), _digest_prefix(url)
    if not found.startswith(prefix):
        raise InputError(f"{url}: SHA-256 of what came begins {found[:8]}, expected {prefix}; try again")
    download = cache_folder() / "weights" / Path(url).name
    with written(download):
        download.parent.mkdir(parents=True, exist_ok=True)
        write_aside(download, data)
    try:
        return add(download, name)
    finally:
        download.unlink()


def listed() -> list[tuple[str, Path, str]]:
    """Name, file and SHA-256 of all weights in the cache, and of the bundled ones that none there stands before."""
    files = {path.stem: path for path in sorted((cache_folder() / "weights").glob("*.safetensors"))}
    for name in BUNDLED:
        if (path := found_weights(name)) is not None:
            files.setdefault(name, path)
    return [(name, path, provenance.sha256(path)) for name, path in files.items()]


def cached(name: str) -> Path:
    """The file of weights: the cache's, else the bundled one, held against its SHA-256.

    InputError that says how to get them when they are not there, or not what this program came with.
    """
    path = found_weights(name)
    if path is None:
        raise InputError(
            f"weights {name!r}: there is no {weights_file(name)}; run astrossl weights add FILE"
            + (f", or with internet astrossl weights fetch {name}" if name in SOURCES else "")
        )
    if path.parent == BUNDLED_FOLDER and (found := provenance.sha256(path)) != BUNDLED[name][1]:
        raise InputError(
            f"{path}: damaged: it is not the file that came with this program ({both(BUNDLED[name][1], found)}); "
            f"install it again, or astrossl weights fetch {name}"
        )
    return path


def _digest_prefix(url: str) -> str:
    return Path(url).stem.rpartition("-")[2]
