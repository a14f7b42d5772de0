"""``model.sobel``: gradients in the place of colours, for whoever begins from such weights too, and for nobody else."""

import dataclasses

import numpy as np
import pytest
import torch
from pretext_toys import pretext_run
from scipy import ndimage
from test_launch_grid import plan
from torch.nn import functional as F
from training_toys import HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.nets import sobel, weights
from hpc_astrossl.nets.backbones import build, empty
from hpc_astrossl.specs.run import ModelSpec
from hpc_astrossl.training.apply import Job, embed
from hpc_astrossl.training.export import export
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

STORE = "stores/images.zarr"


def network(backbone="vgg16", channels=3, *, made=build):
    spec = ModelSpec(backbone=backbone, hidden=8, sobel=True)
    return made(spec, shape=(32, 32, channels), outputs=2, **({"seed": 0} if made is build else {}))


def test_the_gradient_is_that_of_the_mean_over_channels_by_sobel_s_filters():
    images = torch.rand(2, 5, 9, 11, dtype=torch.float64)
    found = sobel.shown(network(channels=5).features, images)
    grey = images.mean(dim=1).numpy()
    for axis, channel in ((-1, 0), (-2, 1)):
        expected = np.stack([-ndimage.sobel(one, axis=axis)[1:-1, 1:-1] for one in grey])
        np.testing.assert_allclose(found[:, channel, 1:-1, 1:-1], expected, atol=1e-12)
    assert found.shape == images.shape
    assert (found[:, 2:] == 0).all()


@pytest.mark.parametrize("backbone", ["vgg16", "resnet18"])
@pytest.mark.parametrize("made", [build, empty])
def test_colour_is_nothing_to_such_a_network_and_light_is(backbone, made):
    net = network(backbone, made=made).eval()
    assert torch.equal(net.features.sobel, sobel.kernels())
    if made is empty:
        return
    images = torch.rand(3, 3, 32, 32)
    same = images.mean(dim=1, keepdim=True).repeat(1, 3, 1, 1)
    with torch.no_grad():
        torch.testing.assert_close(net.encode(images), net.encode(same), rtol=1e-3, atol=1e-5)
        assert (net.encode(images) - net.encode(images.flip(0))).abs().max() > 1e-3


def test_one_channel_is_refused():
    with pytest.raises(InputError, match=r"model.sobel: the gradient has two components, .* one channel; leave"):
        network(channels=1)


def test_what_begins_from_a_pretext_has_what_the_pretext_has_and_nothing_else_has():
    two = {"seen": {"store": STORE, "kind": "clusters", "overrides": {"model": {"sobel": True}}},
           "plain": {"store": STORE, "kind": "clusters"}}  # fmt: skip
    runs = plan(pretext=None, pretexts=two).runs
    have = {run.set if run.scheme == "pretext" else run.scheme for run in runs if run.model.sobel}
    assert have == {"seen", "features-seen", "finetune-seen"}
    with pytest.raises(
        InputError, match=r"scheme features-seen: model\.sobel False, and pretext seen trains True; give"
    ):
        plan(pretext=None, pretexts=two, overrides={"features-seen": {"model": {"sobel": False}}})


def test_weights_say_what_they_were_learnt_from_wherever_they_go(tmp_path, monkeypatch):
    monkeypatch.setenv("ASTROSSL_CACHE", str(tmp_path / "cache"))
    make_store(tmp_path / "toy", objects=24)
    make_store(tmp_path / "labelled", objects=24, prefix="L", ra=200.0)
    run = pretext_run("clusters", epochs=1, hidden=8, sobel=True)
    run = dataclasses.replace(run, pretext={"k": 2, "components": 2})
    train(run, tmp_path)
    name = names.resolved(run).run_id
    path = run_path(tmp_path, run.experiment, name)

    def begun(source, scheme="features-clusters", **model):
        return train(make_run(HEAD, hidden=8, scheme=scheme, weights=source, store="labelled", **model), tmp_path)

    assert begun(f"run:{name}", sobel=True)["weights"]["name"] == f"run:{name}"
    with pytest.raises(InputError, match=r"learnt from gradients \(model.sobel\), and this run has model.sobel false"):
        begun(f"run:{name}")
    embed(Job(run=path, source=tmp_path / "toy", outs=[tmp_path / "f.npz"]))
    with np.load(tmp_path / "f.npz") as found:
        assert found["features"].std() > 0
    for suffix in (".safetensors", ".pth"):
        card = export(path, tmp_path / f"w{suffix}").read_text()
        assert weights.GRADIENTS in weights.read(tmp_path / f"w{suffix}")
        scope, code = {}, card.split("```python\n")[1].split("```")[0]
        monkeypatch.chdir(tmp_path)
        exec(code, scope)
        images = torch.rand(2, 3, 32, 32)
        ours = network(made=empty)
        ours.load_state_dict(ours.state_dict() | weights.read(tmp_path / f"w{suffix}"))
        with torch.no_grad():
            theirs = scope["model"].features(scope["shown"](images))
            torch.testing.assert_close(
                F.adaptive_avg_pool2d(theirs, 1).flatten(1), ours.encode(images), rtol=1e-4, atol=1e-5
            )
    weights.add(tmp_path / "w.pth", "mine")
    with pytest.raises(InputError, match="weights mine: learnt from gradients"):
        begun("mine", "features-magnitudes")


def test_imagenet_s_filters_were_learnt_from_images():
    with pytest.raises(InputError, match=r"imagenet-vgg16 were learnt from images as they are; leave model\.sobel out"):
        names.resolved(make_run(HEAD, scheme="features-imagenet", weights="imagenet-vgg16", sobel=True))
