"""Weights files: what is taken, what is refused and in which words, and that nothing in a file is run."""

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from torchvision.models import VGG16_Weights, get_model_weights

from hpc_astrossl import provenance
from hpc_astrossl.cache import BUNDLED, bundled, found_weights, weights_file
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.names import IMAGENET
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.vgg import build
from hpc_astrossl.specs.backbones import BACKBONES, imagenet
from hpc_astrossl.specs.run import ModelSpec


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch, request):
    if "bundled" not in request.node.name:
        request.getfixturevalue("no_bundled_weights")
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))


@pytest.fixture(scope="module")
def tensors():
    """A whole network's parameters: the convolutions and a head that is not wanted."""
    return build(ModelSpec(hidden=8), shape=(32, 32, 3), outputs=2, seed=0).state_dict()


@pytest.mark.parametrize("suffix", ["safetensors", "pth", "pt"])
def test_convolutions_are_taken_and_the_head_is_left(tmp_path, tensors, suffix, capsys):
    file = tmp_path / f"mine.{suffix}"
    (save_file if suffix == "safetensors" else torch.save)(tensors, file)
    assert main(["weights", "add", str(file)]) == EXIT_DONE
    kept = load_file(weights_file("imagenet-vgg16"))
    assert sorted(kept) == sorted(name for name in tensors if name.startswith("features."))
    assert all(torch.equal(kept[name], tensors[name]) for name in kept)
    digest = provenance.sha256(weights_file("imagenet-vgg16"))
    assert f"sha256 {digest}" in capsys.readouterr().out
    assert main(["weights", "list"]) == EXIT_DONE
    assert f"imagenet-vgg16  sha256 {digest}" in capsys.readouterr().out


def test_an_empty_cache_says_how_to_fill_it(capsys):
    assert main(["weights", "list"]) == EXIT_DONE
    assert "none; astrossl weights fetch imagenet-vgg16, or astrossl weights add FILE" in capsys.readouterr().out


class Evil:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (str(self.path), "w"))


@pytest.mark.parametrize("plain", [False, True])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, plain, capsys):
    file, sign = tmp_path / "evil.pth", tmp_path / "sign"
    if plain:
        file.write_bytes(pickle.dumps(Evil(sign)))
    else:
        torch.save({"features.0.weight": Evil(sign)}, file)
    assert main(["weights", "add", str(file)]) == EXIT_INPUT
    assert "evil.pth: not a file of plain weights, or damaged; nothing in it was run" in capsys.readouterr().err
    assert not sign.exists()


def spoilt(tensors, name, value):
    return {**tensors, name: value}


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: {k: v for k, v in t.items() if k != "features.28.bias"}, "1 of 26 tensors are missing, first feat"),
        (lambda t: {"weight": torch.zeros(3)}, "26 of 26 tensors are missing"),
        (lambda t: spoilt(t, "features.2.weight", torch.zeros(64, 64, 5, 5)), r"features.2.weight has shape \(64, 64,"),
        (
            lambda t: spoilt(t, "features.2.bias", torch.full((64,), torch.nan)),
            "features.2.bias holds numbers that are",
        ),
        (lambda t: spoilt(t, "features.0.weight", torch.zeros(64, 12, 3, 3)), "take 3 channels, these take 12"),
    ],
)
def test_what_is_not_vgg16_is_refused_by_name(tmp_path, tensors, spoil, message):
    save_file(spoil(tensors), tmp_path / "mine.safetensors")
    with pytest.raises(InputError, match=message):
        weights.add(tmp_path / "mine.safetensors")
    assert not weights_file("imagenet-vgg16").exists()


def test_weights_of_twelve_channels_are_taken_under_a_name_of_their_own(tmp_path, tensors):
    save_file(spoilt(tensors, "features.0.weight", torch.ones(64, 12, 3, 3)), tmp_path / "mine.safetensors")
    path, _ = weights.add(tmp_path / "mine.safetensors", "twelve")
    assert weights.cached("twelve") == path


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("gone.pth", None, "gone.pth: no such file"),
        ("w.h5", b"", "weights are read from .safetensors, .pth or .pt files"),
        ("w.safetensors", b"\x08\0\0\0\0\0\0\0nonsense", "w.safetensors: not a file of plain weights, or damaged"),
        ("w.pt", b"", "w.pt: not a file of plain weights, or damaged"),
    ],
)
def test_files_that_cannot_be_read_are_named(tmp_path, name, content, message):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=message):
        weights.add(tmp_path / name)


def test_a_list_is_not_a_state_dict(tmp_path):
    torch.save([torch.zeros(3)], tmp_path / "w.pt")
    with pytest.raises(InputError, match=r"expected tensors by name \(a state dict\), found list"):
        weights.add(tmp_path / "w.pt")


def test_fetching_checks_the_sum_in_the_address(tmp_path, tensors, monkeypatch):
    file = tmp_path / "vgg.pth"
    torch.save(tensors, file)
    named = tmp_path / f"vgg-{provenance.sha256(file)[:8]}.pth"
    file.rename(named)
    monkeypatch.setitem(weights.SOURCES, "imagenet-vgg16", named.as_uri())
    path, digest = weights.fetch("imagenet-vgg16")
    assert provenance.sha256(path) == digest
    assert [p.name for p in path.parent.iterdir()] == ["imagenet-vgg16.safetensors"]
    wrong = named.rename(tmp_path / "vgg-00000000.pth")
    monkeypatch.setitem(weights.SOURCES, "imagenet-vgg16", wrong.as_uri())
    with pytest.raises(InputError, match="expected 00000000; try again"):
        weights.fetch("imagenet-vgg16")


def test_addresses_are_torchvisions():
    theirs = {imagenet(name): get_model_weights(name).IMAGENET1K_V1.url for name in BACKBONES}
    assert theirs[IMAGENET] == weights.OTHER_SCALING
    assert theirs | {IMAGENET: VGG16_Weights.IMAGENET1K_FEATURES.url} == weights.SOURCES


def test_without_internet_the_way_round_is_told(tmp_path, monkeypatch):
    monkeypatch.setitem(weights.SOURCES, "imagenet-vgg16", (tmp_path / "gone-12345678.pth").as_uri())
    with pytest.raises(InputError, match=r"cannot be fetched .* copy it here, and run: astrossl weights add FILE"):
        weights.fetch("imagenet-vgg16")
    with pytest.raises(InputError, match=r"unknown weights 'resnet'; allowed: .*imagenet-vgg16"):
        weights.fetch("resnet")


def test_the_bundled_weights_are_vgg16s_in_half_precision_and_read_as_float32(capsys):
    path = weights.cached("imagenet-vgg16")
    assert provenance.sha256(path) == BUNDLED["imagenet-vgg16"][1]
    assert {tensor.dtype for tensor in load_file(path).values()} == {torch.float16}
    found = weights.read(path)
    assert {tensor.dtype for tensor in found.values()} == {torch.float32}
    assert bundled(provenance.sha256(path))
    notice = (path.parent / "README.md").read_text()
    assert all(word in notice for word in ("CC BY 4.0", "Simonyan", "Zisserman", BUNDLED["imagenet-vgg16"][1]))
    assert main(["weights", "list"]) == EXIT_DONE
    assert str(path) in capsys.readouterr().out


def test_a_file_in_the_cache_stands_before_the_bundled_one(tmp_path, tensors):
    file = tmp_path / "full.safetensors"
    save_file(tensors, file)
    weights.add(file)
    assert weights.cached("imagenet-vgg16") == weights_file("imagenet-vgg16") == found_weights("imagenet-vgg16")


def test_bundled_weights_that_are_damaged_are_refused(tmp_path, monkeypatch):
    file, _ = BUNDLED["imagenet-vgg16"]
    (tmp_path / file).write_bytes(b"damaged")
    for module in ("cache", "nets.weights"):
        monkeypatch.setattr(f"hpc_astrossl.{module}.BUNDLED_FOLDER", tmp_path)
    with pytest.raises(InputError, match="damaged: it is not the file that came with this program"):
        weights.cached("imagenet-vgg16")
