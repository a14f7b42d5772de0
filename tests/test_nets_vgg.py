"""The network: seeded beginning, pooling, dropout masks, max-norm, empty batches, sums over ranks."""

import itertools
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.nn import functional as F
from torchvision.models import vgg16

from hpc_astrossl.errors import InputError
from hpc_astrossl.nets.vgg import build, emulated, steady
from hpc_astrossl.specs.run import ModelSpec

SMALL = ModelSpec(hidden=64)


def network(spec: ModelSpec = SMALL, shape=(32, 32, 3), outputs=2, seed=0):
    return build(spec, shape=shape, outputs=outputs, seed=seed)


def test_convolutions_carry_torchvisions_names_and_shapes():
    with torch.device("meta"):
        theirs = {name: p.shape for name, p in vgg16(weights=None).named_parameters() if name.startswith("features.")}
    ours = {name: p.shape for name, p in network().named_parameters()}
    assert {name: shape for name, shape in ours.items() if name.startswith("features.")} == theirs
    assert ours["head.hidden.weight"] == (64, 512)


def test_convolutions_are_torchvisions_layers():
    assert repr(network(shape=(32, 32, 3)).features) == repr(vgg16(weights=None).features)


def test_a_vgg16_is_ready_without_what_takes_as_long_to_import_as_torch():
    code = ("import sys; from hpc_astrossl.specs.run import ModelSpec; from hpc_astrossl.training import apply; "
            "apply.empty(ModelSpec(), shape=(32, 32, 3), outputs=2).encode(apply.torch.zeros(1, 3, 32, 32)); "
            "print({'torchvision', 'torch._dynamo', 'sympy'} & set(sys.modules))")  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_same_seed_gives_the_same_weights_and_leaves_torchs_own_random_state_alone():
    before = torch.get_rng_state()
    first, again, other = network(seed=3), network(seed=3), network(seed=4)
    assert torch.equal(torch.get_rng_state(), before)
    for name, weight in first.state_dict().items():
        assert torch.equal(weight, again.state_dict()[name])
    assert not torch.equal(first.features[0].weight, other.features[0].weight)


def test_a_signal_keeps_its_size_through_the_convolutions():
    images = torch.rand(4, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    features = network().encode(images)
    assert 0.1 < features.std() < 10


@pytest.mark.parametrize(("pooling", "width"), [("average", 512), ("flatten", 512 * 2)])
def test_pooling_decides_what_the_head_sees(pooling, width):
    model = network(ModelSpec(hidden=8, pooling=pooling), shape=(64, 40, 5))
    features = model.encode(torch.rand(2, 5, 64, 40))
    assert features.shape == (2, width)
    assert model.pooled(features).shape == (2, 512)


def test_average_and_flattened_features_have_the_same_mean():
    images = torch.rand(2, 3, 64, 64)
    average, flat = (network(ModelSpec(hidden=8, pooling=p), shape=(64, 64, 3)) for p in ("average", "flatten"))
    flat.features.load_state_dict(average.features.state_dict())
    assert torch.allclose(flat.pooled(flat.encode(images)), average.encode(images), atol=1e-6)


def test_too_small_images_are_refused():
    with pytest.raises(InputError, match=r"images of 31 × 64 pixels are too small for VGG16: at least 32 × 32"):
        network(shape=(31, 64, 3))


def test_slices_of_ranks_are_slices_of_the_one_mask_of_the_global_batch():
    head = network().head
    whole = head.keep(10, (7, 2, 5))
    assert torch.equal(torch.cat([head.keep(10, (7, 2, 5))[:6], head.keep(10, (7, 2, 5))[6:]]), whole)
    for key in ((8, 2, 5), (7, 3, 5), (7, 2, 6)):
        assert not torch.equal(head.keep(10, key), whole)


def test_the_mask_keeps_one_minus_dropout_and_no_dropout_gives_no_mask():
    head = network(ModelSpec(hidden=2000, dropout=0.3)).head
    assert abs(head.keep(50, (0, 1, 0)).float().mean() - 0.7) < 0.005
    assert network(ModelSpec(hidden=8, dropout=0.0)).head.keep(4, (0, 1, 0)) is None


def test_dropout_leaves_out_the_masked_units_and_scales_the_others():
    head = network(outputs=1).head
    features, keep = torch.rand(1, 512), torch.zeros(1, 64)
    keep[0, 3] = 1
    hidden = torch.relu(head.hidden(features))[0, 3]
    assert torch.allclose(head(features, keep)[0, 0], head.output.weight[0, 3] * hidden / 0.5 + head.output.bias[0])


def test_max_norm_shortens_long_units_and_leaves_short_ones():
    head = network().head
    with torch.no_grad():
        head.hidden.weight[0] *= 100
        head.hidden.weight[1] *= 1e-3
    short = head.hidden.weight[1].clone()
    direction = F.normalize(head.hidden.weight[0], dim=0).detach()
    head.constrain()
    norms = head.hidden.weight.norm(dim=1)
    assert norms[0].item() == pytest.approx(2, rel=1e-5)
    assert norms.max() <= 2 * (1 + 1e-6)
    assert torch.equal(head.hidden.weight[1], short)
    assert torch.allclose(F.normalize(head.hidden.weight[0], dim=0), direction, atol=1e-6)


def test_without_max_norm_nothing_is_shortened():
    head = network(ModelSpec(hidden=8, max_norm=None)).head
    with torch.no_grad():
        head.hidden.weight *= 100
    long = head.hidden.weight.clone()
    head.constrain()
    assert torch.equal(head.hidden.weight, long)


def test_an_empty_batch_gives_every_parameter_a_zero_gradient():
    model = network()
    loss = F.cross_entropy(model(torch.empty(0, 3, 32, 32)), torch.empty(0, dtype=torch.long), reduction="none").sum()
    loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.parameters())


@pytest.mark.parametrize("cuts", [(0, 4, 7), (0, 7, 7), (0, 1, 2, 7)])
def test_gradients_averaged_over_uneven_parts_are_those_of_the_mean_over_all(cuts):
    """In float64 they agree to rounding: what ranks differ by in float32 is rounding too, no bias."""
    images = torch.rand(7, 3, 32, 32, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    truth, size = torch.from_numpy(np.arange(7) % 2), len(cuts) - 1
    whole, parts = network().double(), network().double()
    keep = whole.head.keep(7, (0, 1, 0))
    F.cross_entropy(whole(images, keep), truth).backward()
    for a, b in itertools.pairwise(cuts):
        loss = F.cross_entropy(parts(images[a:b], keep[a:b]), truth[a:b], reduction="none").sum()
        (loss * (size / 7) / size).backward()  # gradients add up: the engine's average over ranks
    for one, other in zip(whole.parameters(), parts.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-10, atol=1e-14)


@pytest.mark.parametrize("native", [True, False])
def test_bfloat16_is_emulated_where_the_processor_has_no_instructions_for_it(monkeypatch, native):
    monkeypatch.setattr(torch.ops.mkldnn, "_is_mkldnn_bf16_supported", lambda: native)
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    assert emulated("bfloat16", cpu) is not native
    assert not emulated("bfloat16", gpu)
    assert not any(emulated(precision, cpu) for precision in ("auto", "float32"))


def test_convolutions_in_bfloat16_keep_weights_and_head_in_float32():
    spec = ModelSpec(hidden=8, precision="bfloat16")
    images, low = torch.rand(4, 3, 32, 32), build(spec, shape=(32, 32, 3), outputs=2, seed=0)
    full = build(ModelSpec(hidden=8), shape=(32, 32, 3), outputs=2, seed=0)
    features = low.encode(images)
    assert features.dtype == torch.float32
    assert not torch.equal(features, full.encode(images))
    torch.testing.assert_close(features, full.encode(images), rtol=0.05, atol=0.05)
    low(images).sum().backward()
    assert all(parameter.grad.dtype == torch.float32 for parameter in low.parameters())


def test_steady_weights_are_made_bfloat16_once_for_all_batches_with_the_same_numbers():
    model = build(ModelSpec(hidden=8, precision="bfloat16"), shape=(32, 32, 3), outputs=2, seed=0)
    images, cpu = torch.rand(4, 3, 32, 32), torch.device("cpu")
    before = model.encode(images).detach()
    with steady(cpu):
        assert torch.equal(model.encode(images), before)
        with torch.no_grad():
            model.features[0].weight.mul_(2)
        assert torch.equal(model.encode(images), before), "made anew for each batch"
    assert not torch.equal(model.encode(images), before)
