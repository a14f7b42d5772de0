"""Controls take away what they say, and nothing else."""

import numpy as np
import pytest
import torch
from training_toys import ALL, HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.errors import InputError
from hpc_astrossl.specs import heads
from hpc_astrossl.training import control
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")


def test_the_mask_is_a_central_disc_that_flips_and_turns_leave_alone():
    disc = control.central_disc(32, 32)
    assert disc[15:17, 15:17].all()
    assert not disc[[0, 0, -1, -1, 0, 16], [0, -1, 0, -1, 16, 0]].any()
    assert torch.equal(disc, disc.flip(0))
    assert torch.equal(disc, disc.rot90())
    assert disc.float().mean() == pytest.approx(np.pi * 0.3**2, abs=0.02)


def test_masked_images_hold_nothing_of_their_centre():
    images = torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    other = images.clone()
    disc = control.central_disc(32, 32)
    other[:, :, disc] = 7.0
    masked = control.masked(images)
    assert torch.equal(masked, control.masked(other))
    assert torch.equal(masked[:, :, ~disc], images[:, :, ~disc])
    assert masked[1, 2, 16, 16] == images[1, 2][~disc].median()


def test_shuffled_labels_keep_their_numbers_and_leave_test_alone():
    truth = np.arange(30, dtype=np.int16) % 3
    rows = {"train": np.arange(0, 20), "validation": np.arange(20, 26), "test": np.arange(26, 30)}
    dealt, again, other = truth.copy(), truth.copy(), truth.copy()
    control.shuffle(dealt, rows, seed=1)
    assert (dealt[:20] != truth[:20]).any()
    for split in ("train", "validation"):
        assert sorted(dealt[rows[split]]) == sorted(truth[rows[split]])
    np.testing.assert_array_equal(dealt[26:], truth[26:])
    control.shuffle(again, rows, seed=1)
    np.testing.assert_array_equal(dealt, again)
    control.shuffle(other, rows, seed=2)
    assert (dealt != other).any()
    assert dealt[:20].tolist() == np.random.default_rng((1, 0x5417)).permutation(truth[:20]).tolist()


def test_magnitudes_cannot_be_shuffled():
    with pytest.raises(InputError, match=r"data\.control: shuffled-labels is for target classes"):
        control.shuffle(np.zeros((4, 2)), {}, seed=0)


def outcome(workdir, *phases, **changes):
    run = make_run(*phases, **changes)
    result = train(run, workdir)
    return result, np.load(run_path(workdir, run.experiment, names.resolved(run).run_id) / "features.npz")["features"]


def test_a_run_without_centres_sees_other_images(tmp_path):
    """Also where features of the same store and weights are kept for other runs."""
    make_store(tmp_path / "toy")
    plain, features = outcome(tmp_path, HEAD)
    masked, without = outcome(tmp_path, HEAD, control="masked-centre")
    assert (plain["control"], masked["control"]) == ("", "masked-centre")
    assert plain["run_id"] != masked["run_id"]
    assert np.abs(features - without).max() > 0.01
    tuned, _ = outcome(tmp_path, ALL, control="masked-centre", flips=True)
    assert tuned["control"] == "masked-centre"


def test_a_run_on_shuffled_labels_is_measured_on_the_true_test_labels(tmp_path):
    make_store(tmp_path / "toy")
    result, _ = outcome(tmp_path, HEAD, control="shuffled-labels")
    made = np.load(tmp_path / "runs" / "toys" / result["run_id"] / "predictions.npz")
    test = made["split"] == "test"
    true = np.array([int(name[1:]) % 2 for name in made["object_id"]])
    np.testing.assert_array_equal(made["truth"][test], true[test])
    assert (made["truth"][~test] != true[~test]).any()


def test_an_id_of_a_plain_run_is_what_it_was_before_there_were_controls():
    assert names.resolved(make_run(HEAD)).run_id == names.resolved(make_run(HEAD, control="none")).run_id
    assert names.resolved(make_run(HEAD)).run_id != names.resolved(make_run(HEAD, control="masked-centre")).run_id


def test_runs_with_labels_of_their_own_are_not_trained_together():
    def run(seed, control):
        return names.resolved(make_run(HEAD, seed=seed, control=control, weights="imagenet-vgg16"))

    assert [len(group) for group in heads.groups([run(0, "none"), run(1, "none"), run(0, "masked-centre")])] == [2, 1]
    assert [len(group) for group in heads.groups([run(0, "shuffled-labels"), run(1, "shuffled-labels")])] == [1, 1]


def test_runs_with_convolutions_of_their_own_are_not_trained_together():
    drawn = [names.resolved(make_run(HEAD, seed=seed, scheme="features-random")) for seed in (0, 1)]
    assert heads.groups(drawn) == [[drawn[0]], [drawn[1]]]


def test_features_kept_on_disk_are_not_those_of_masked_images(tmp_path):
    make_store(tmp_path / "toy")
    make_store(tmp_path / "other", prefix="O", ra=100.0)
    pretext, _ = outcome(tmp_path, ALL, store="other", experiment="toys")
    weights = f"run:{pretext['run_id']}"
    _, plain = outcome(tmp_path, HEAD, weights=weights)
    assert (tmp_path / "features").is_dir()
    _, masked = outcome(tmp_path, HEAD, weights=weights, control="masked-centre")
    assert np.abs(plain - masked).max() > 0.01
