"""Convolutions that leave: torchvision takes them, and the card says what they are; and those that are widened."""

import pytest
import torch
from safetensors.torch import load_file
from torchvision.models import vgg16
from training_toys import HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.nets.weights import read, widened
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    workdir = tmp_path_factory.mktemp("work")
    make_store(workdir / "toy")
    train(make_run(HEAD), workdir)
    return run_path(workdir, "toys", names.resolved(make_run(HEAD)).run_id)


@pytest.mark.parametrize("suffix", [".safetensors", ".pth"])
def test_torchvision_takes_what_is_exported(folder, tmp_path, suffix):
    file = tmp_path / f"toy{suffix}"
    assert main(["weights", "export", str(folder), str(file)]) == EXIT_DONE
    state = load_file(file) if suffix == ".safetensors" else torch.load(file, weights_only=True)
    with torch.device("meta"):
        model = vgg16(weights=None)
    found = model.load_state_dict(state, strict=False, assign=True)
    assert not found.unexpected_keys
    assert all(name.startswith("classifier.") for name in found.missing_keys)
    assert read(file).keys() == state.keys()  # weights add takes it too
    card = (tmp_path / f"toy{suffix}.md").read_text()
    for words in ("toy of toys 1, 32 objects", "classes: red, blue", "3 channels", "times 1/255", "arXiv:2004.11336",
                  "| accuracy |", "SHA-256"):  # fmt: skip
        assert words in card


def test_what_cannot_be_exported_is_named(folder, tmp_path, capsys):
    assert main(["weights", "export", str(folder), str(tmp_path / "a.h5")]) == EXIT_INPUT
    assert "weights are exported as .safetensors or .pth" in capsys.readouterr().err
    assert main(["weights", "export", str(tmp_path), str(tmp_path / "a.pth")]) == EXIT_INPUT
    assert "not the folder of a finished run" in capsys.readouterr().err


def test_an_image_alike_in_all_channels_gives_what_a_grey_one_gave():
    weight = torch.randn(64, 3, 3, 3)
    wide = widened({"features.0.weight": weight}, 12)["features.0.weight"]
    grey = torch.randn(1, 1, 8, 8)
    first, second = (
        torch.nn.functional.conv2d(grey.repeat(1, channels, 1, 1), one) for channels, one in ((3, weight), (12, wide))
    )
    assert wide.shape == (64, 12, 3, 3)
    torch.testing.assert_close(first, second, rtol=1e-4, atol=1e-4)
