"""Networks beside VGG16: torchvision's names and outputs, frozen statistics, n bands, ImageNet weights, whole runs."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import torchvision
from pretext_toys import pretext_run
from safetensors.torch import load_file
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import config, names
from hpc_astrossl.errors import InputError
from hpc_astrossl.loading.reference import scale
from hpc_astrossl.nets import weights
from hpc_astrossl.nets.backbones import build, empty, settle
from hpc_astrossl.specs.backbones import BACKBONES, imagenet
from hpc_astrossl.specs.run import ModelSpec
from hpc_astrossl.training.apply import Job, embed
from hpc_astrossl.training.export import export
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

OTHERS = [name for name in BACKBONES if name != "vgg16"]


def network(name, channels=3, seed=0, **model):
    spec = ModelSpec(backbone=name, hidden=8, **model)
    return build(spec, shape=(32, 32, channels), outputs=2, seed=seed)


def theirs(name, seed=0):
    """torchvision's network with random statistics, in evaluation."""
    source = torch.get_rng_state()
    torch.manual_seed(seed)
    model = getattr(torchvision.models, name)(weights=None)
    for module in model.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(std=0.1)
            module.running_var.uniform_(0.5, 2)
    torch.set_rng_state(source)
    return model.eval()


@pytest.mark.parametrize("name", OTHERS)
def test_features_are_what_torchvisions_network_has_before_its_last_layer(name, tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path))
    model, images = theirs(name), torch.rand(2, 3, 64, 64)
    torch.save(
        {k: v for k, v in model.state_dict().items() if not k.endswith("num_batches_tracked")}, tmp_path / "w.pth"
    )
    path, _ = weights.add(tmp_path / "w.pth", imagenet(name))
    ours = network(name)
    ours.load_state_dict(ours.state_dict() | weights.read(path, name))
    seen = []
    last = model.fc if hasattr(model, "fc") else model.classifier[-1]
    last.register_forward_pre_hook(lambda _, given: seen.append(given[0]))
    with torch.no_grad():
        model(images)
        found = ours.eval().encode(images)
    assert found.shape == (2, BACKBONES[name].width)
    torch.testing.assert_close(found, seen[0], rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("name", OTHERS)
def test_a_beginning_is_a_function_of_the_seed_and_carries_a_signal(name):
    images = torch.rand(16, 5, 32, 32, generator=torch.Generator().manual_seed(0))
    before = torch.get_rng_state()
    first, again, other = network(name, 5), network(name, 5), network(name, 5, seed=1)
    assert torch.equal(torch.get_rng_state(), before)
    for key, tensor in first.state_dict().items():
        assert torch.equal(tensor, again.state_dict()[key])
        assert torch.isfinite(tensor).all()
    assert not torch.equal(first.state_dict()[weights.first_layer(name)], other.state_dict()[weights.first_layer(name)])
    settle(first, images)
    with torch.no_grad():
        features = first.encode(images)
    assert 0.01 < features.std() < 10
    assert (features.std(dim=0) > 1e-4).float().mean() > 0.3


def test_frozen_statistics_make_an_image_independent_of_its_batch_in_training_too():
    model, images = network("resnet18"), torch.rand(6, 3, 32, 32)
    settle(model, images)
    model.train()
    whole = model.encode(images)
    torch.testing.assert_close(model.encode(images[:2]), whole[:2], rtol=1e-4, atol=1e-5)
    moving = network("resnet18", norm="batch").train()
    with torch.no_grad():
        assert (moving.encode(images[:2]) - moving.encode(images)[:2]).abs().max() > 1e-2


def test_imagenet_scaling_is_torchvisions():
    image = np.arange(48, dtype=np.uint8).reshape(4, 4, 3) * 5
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    expected = normalise(torch.from_numpy(image).permute(2, 0, 1) / 255).permute(1, 2, 0)
    np.testing.assert_allclose(scale(image, "imagenet"), expected, atol=1e-5)


def test_a_backbone_decides_which_imagenet_weights_and_which_scaling():
    run = make_run(HEAD, scheme="features-imagenet", weights="imagenet-resnet18", backbone="resnet18")
    assert names.resolved(run).data.scaling == "imagenet"
    with pytest.raises(
        InputError, match="weights imagenet-vgg16 are not for backbone resnet18; take weights imagenet-res"
    ):
        names.resolved(dataclasses.replace(run, weights="imagenet-vgg16"))
    vgg = make_run(HEAD, scheme="features-imagenet", weights="imagenet-vgg16")
    assert names.resolved(vgg).data.scaling == "caffe"
    assert "backbone" not in json.dumps(config.identity(vgg))


@pytest.mark.parametrize(("model", "words"), [
    ({"backbone": "resnet"}, "unknown backbone 'resnet'; allowed: convnext_tiny, efficientnet_b0, resnet18, resnet50"),
    ({"norm": "batch"}, "norm batch: vgg16 has no batch normalisation"),
    ({"backbone": "convnext_tiny", "norm": "batch"}, "convnext_tiny has no batch normalisation"),
    ({"backbone": "resnet18", "pooling": "flatten"}, "pooling flatten: resnet18 averages its last map"),
])  # fmt: skip
def test_what_cannot_be_is_refused(model, words):
    with pytest.raises(InputError, match=words):
        ModelSpec(**model)


def test_too_small_images_and_weights_of_another_network_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path))
    with pytest.raises(InputError, match=r"31 × 31 pixels are too small for resnet18"):
        empty(ModelSpec(backbone="resnet18"), shape=(31, 31, 3), outputs=2)
    torch.save(theirs("resnet18").state_dict(), tmp_path / "w.pth")
    with pytest.raises(InputError, match=r"not resnet50's convolutions: .* tensors are missing"):
        weights.add(tmp_path / "w.pth", imagenet("resnet50"))
    with pytest.raises(InputError, match="not VGG16's convolutions"):
        weights.add(tmp_path / "w.pth", names.IMAGENET)


@pytest.mark.parametrize("norm", ["frozen", "batch"])
def test_a_run_learns_resumes_embeds_and_exports(tmp_path, norm):
    make_store(tmp_path / "toy", objects=24)
    run = make_run(HEAD, dataclasses.replace(ALL, epochs=2), backbone="resnet18", norm=norm, hidden=8, train_size=12)
    result = train(run, tmp_path)
    assert np.isfinite(result["metrics"]["test"]["loss"])
    path = run_path(tmp_path, run.experiment, names.resolved(run).run_id)
    embed(Job(run=path, source=tmp_path / "toy", outs=[tmp_path / "f.npz"]))
    with np.load(tmp_path / "f.npz") as found:
        assert found["features"].shape == (24, 512)
        assert found["features"].std() > 0
    card = export(path, tmp_path / "w.safetensors").read_text()
    assert f"normalisation: batch, {norm}" in card
    model = torchvision.models.resnet18(weights=None)
    missing, strange = model.load_state_dict(load_file(tmp_path / "w.safetensors"), strict=False)
    assert (missing, strange) == (["fc.weight", "fc.bias"], [])
    begun = network("resnet18", norm=norm).state_dict()["features.layer1.0.bn1.running_mean"]
    assert (model.layer1[0].bn1.running_mean != begun).any()


def test_statistics_of_one_image_and_of_ranks_apart_are_refused(tmp_path):
    make_store(tmp_path / "toy", objects=24)
    run = make_run(ALL, backbone="resnet18", norm="batch", hidden=8, train_size=9)
    with pytest.raises(InputError, match="batches of 8 leave one image alone"):
        train(run, tmp_path)


def test_a_pretext_trains_another_backbone_and_hands_it_on(tmp_path):
    make_store(tmp_path / "toy", objects=24)
    make_store(tmp_path / "labelled", objects=24, prefix="L", ra=200.0)
    run = pretext_run("rotation", epochs=1, backbone="resnet18", hidden=8, train_size=8)
    train(run, tmp_path)
    name = names.resolved(run).run_id
    head = make_run(
        HEAD, backbone="resnet18", hidden=8, scheme="features-rotation", weights=f"run:{name}", store="labelled"
    )
    assert train(head, tmp_path)["weights"]["name"] == f"run:{name}"
    with pytest.raises(InputError, match="not VGG16's convolutions"):
        train(dataclasses.replace(head, model=ModelSpec(hidden=8)), tmp_path)
