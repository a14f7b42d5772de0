"""Guards against numbers that are wrong without a word; each test fails where its guard is taken away."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import zarr
from faults import small_release as release
from PIL import Image
from training_toys import HEAD, make_run, make_store

from hpc_astrossl import cli, config, manifest, names
from hpc_astrossl.cutting import contact
from hpc_astrossl.errors import InputError
from hpc_astrossl.loading import LoaderSpec
from hpc_astrossl.selection import crossmatch
from hpc_astrossl.specs.run import PhaseSpec
from hpc_astrossl.store import check, embedding, open_store
from hpc_astrossl.training.checkpoint import Checkpoints
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.leakage import Seen, check_leakage, close_pairs
from hpc_astrossl.training.pictures import Alone
from hpc_astrossl.training.run import train

FIXED = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-30, epochs=1)  # nothing moves: only measuring
SIZE = 16


def folder_of(workdir: Path, run) -> Path:
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


def rewrite(store: Path, attributes: dict, **columns) -> Path:
    """The store as if it had been made with other attributes and columns."""
    group = zarr.open_group(store, mode="r+")
    for name, values in columns.items():
        group[name][...] = values
    group.attrs.update(attributes)
    manifest.write_manifest(store, [])
    return store


def swapped(store: Path) -> Path:
    """The same objects, the two classes in the other order."""
    return rewrite(store, {"class_names": ["blue", "red"]}, label=1 - open_store(store).table["label"])


class TestClassOrder:
    """A class is its name; its number belongs to one store."""

    @pytest.fixture(scope="class")
    @classmethod
    def workdir(cls, tmp_path_factory):
        """Stores ``toy`` and ``other`` of the same objects, the second with classes swapped, and a run on the first."""
        workdir = tmp_path_factory.mktemp("classes")
        make_store(workdir / "toy")
        shutil.copytree(workdir / "toy", workdir / "other")
        swapped(workdir / "other")
        train(make_run(HEAD), workdir)
        return workdir

    def answers(self, workdir, run, store, out):
        assert cli.main(["predict", str(folder_of(workdir, run)), str(workdir / store), "--out", str(out)]) == 0
        with out.open() as stream:
            return {row["object_id"]: (row["class"], row["p_red"], row["p_blue"]) for row in csv.DictReader(stream)}

    def test_answers_are_names_whatever_the_order_in_the_store_that_is_asked(self, workdir, tmp_path):
        run = make_run(HEAD)
        first = self.answers(workdir, run, "toy", tmp_path / "a.csv")
        assert first == self.answers(workdir, run, "other", tmp_path / "b.csv")
        assert {name for name, *_ in first.values()} <= {"red", "blue"}

    def test_an_embedding_keeps_the_names_with_the_numbers(self, workdir, tmp_path):
        named = []
        for store in ("toy", "other"):
            out = tmp_path / f"{store}.zarr"
            command = ["embed", str(folder_of(workdir, make_run(HEAD))), str(workdir / store), "--out", str(out)]
            assert cli.main(command) == 0
            found = embedding.read(out)
            named.append(np.array(found.class_names)[found.label].tolist())
        assert named[0] == named[1]

    def test_a_run_does_not_go_on_with_a_store_made_anew(self, workdir, tmp_path):
        shutil.copytree(workdir / "toy", tmp_path / "toy")
        run = make_run(HEAD, seed=5)
        checkpoints = Checkpoints(folder_of(tmp_path, run) / "checkpoint", print)
        checkpoints.save((1, 0), {"store": open_store(tmp_path / "toy").identity, "records": [], "seconds": 0.0})
        swapped(tmp_path / "toy")
        with pytest.raises(InputError, match=r"toy: has been made anew .* was begun; bring the old store"):
            train(run, tmp_path)

    def test_parts_of_an_answer_are_of_one_store(self, workdir, tmp_path, capsys):
        shutil.copytree(workdir / "toy", tmp_path / "toy")
        command = ["predict", str(folder_of(workdir, make_run(HEAD))), str(tmp_path / "toy"), "--out"]
        command += [str(tmp_path / "a.csv"), "--task", "1/2"]
        about = tmp_path / "a.csv.parts"
        about.mkdir()
        (about / "about.json").write_text("{}")
        assert cli.main(command) == 2
        assert "holds parts of other work" in capsys.readouterr().err
        shutil.rmtree(about)
        (tmp_path / "a.csv").unlink(missing_ok=True)
        before = open_store(tmp_path / "toy").identity
        assert open_store(swapped(tmp_path / "toy")).identity != before


class TestBandOrder:
    """A band is its name, in the catalogue, in the store and in the weights."""

    def test_columns_of_the_catalogue_in_another_order_make_the_same_store(self, tmp_path):
        stores = []
        for name, order in (("a", [0, 1, 2, 3, 4, 5, 6, 7]), ("b", [7, 3, 0, 6, 5, 4, 2, 1])):
            (tmp_path / name).mkdir()
            command = release.make(tmp_path / name)
            lines = [line.split(",") for line in [release.HEADER, *release.rows()]]
            head, *rows = [",".join(line[place] for place in order) for line in lines]
            release.write_catalogue(tmp_path / name, rows, head)
            assert cli.main(command) == 0
            stores.append(open_store(tmp_path / name / "stores" / "tiny.zarr"))
        for column, values in stores[0].table.items():
            np.testing.assert_array_equal(values, stores[1].table[column])
        everything = np.arange(len(stores[0]))
        np.testing.assert_array_equal(stores[0].images(everything), stores[1].images(everything))

    def test_weights_of_other_channels_are_refused(self, tmp_path):
        make_store(tmp_path / "pretext", prefix="P", ra=100.0)
        make_store(tmp_path / "toy")
        first = make_run(FIXED, store="pretext")
        train(first, tmp_path)
        rewrite(tmp_path / "toy", {"channels": ["i", "r", "g"]})
        then = make_run(FIXED, weights=f"run:{names.resolved(first).run_id}")
        with pytest.raises(InputError, match=r"toy: channels are i, r, g, the run was trained on red, green, blue"):
            train(then, tmp_path)


COMPANION = (-5, +4)  # of every object, in FITS pixels: up and to the left


@pytest.fixture(scope="module")
def corners(tmp_path_factory):
    """The stores of a release with an RGB image too, whose objects all have a companion at the upper left."""
    folder = tmp_path_factory.mktemp("corners")
    command = release.make(folder)
    pairs = [(x + dx, y + dy) for x, y in release.places() for dx, dy in ((0, 0), COMPANION)]
    light = release.blobs(pairs, release.WIDTH, release.HEIGHT) * 100 + np.float32(1)
    for band in "gr":
        release.write_image(release.band(folder, band), release.fits.PrimaryHDU(light))
    top_first = np.clip(light[::-1], 0, 255).astype(np.uint8)  # as the survey draws it: the largest y on top
    Image.fromarray(np.stack([top_first] * 3, axis=-1)).save(folder / "release" / "F1.png")
    text = (folder / "recipe.yaml").read_text().replace("fields:\n", 'fields:\n  rgb: "{field}.png"\n')
    (folder / "recipe.yaml").write_text(text + "  colours: {images: rgb}\n")
    assert cli.main(command) == 0
    return folder / "stores"


def upper_left(image: np.ndarray) -> bool:
    """Whether the light beside the middle, (height, width), is at the upper left and nowhere else."""
    half = SIZE // 2
    quarters = {"upper left": image[:half, :half], "upper right": image[:half, half + 3 :],
                "lower left": image[half + 3 :, :half], "lower right": image[half + 3 :, half + 3 :]}  # fmt: skip
    light = {name: float(part[2:-2, 2:-2].sum()) for name, part in quarters.items()}
    return max(light, key=light.get) == "upper left" and light["upper left"] > 2 * sorted(light.values())[-2]


class TestUpIsUp:
    """A source at a known corner stays there, from FITS and from PNG, to the network and to the eye."""

    @pytest.mark.parametrize("name", ["tiny", "colours"])
    def test_in_the_store(self, corners, name):
        store = open_store(corners / f"{name}.zarr")
        assert all(upper_left(image[..., 0].astype(float)) for image in store.images(store.usable))

    @pytest.mark.parametrize("loader", list(names.LOADERS))
    @pytest.mark.parametrize(("name", "scaling"), [("tiny", "asinh"), ("colours", "unit")])
    def test_in_what_the_network_is_given(self, corners, name, scaling, loader, monkeypatch):
        store = open_store(corners / f"{name}.zarr")
        spec = LoaderSpec(batch_size=8, scaling=scaling, flips=False, turns=False, seed=0, resident_mb=64)
        made = names.resolve(names.LOADERS, loader, "loader")(store, store.usable, spec, engine=Alone(), device="cpu")
        try:
            for way in (made.evaluate(), made.epoch(0)):
                for batch in way:
                    for image in batch.images.numpy():
                        assert upper_left(image[0] - image[0].min())
        finally:
            made.close()

    @pytest.mark.parametrize("name", ["tiny", "colours"])
    def test_on_the_contact_sheet(self, corners, name, tmp_path):
        assert cli.main(["info", str(corners / f"{name}.zarr"), "--image", str(tmp_path / "sheet.png")]) == 0
        sheet = np.asarray(Image.open(tmp_path / "sheet.png")).astype(float).sum(axis=2)
        side = SIZE * 6
        panel = sheet[contact.TITLE : contact.TITLE + side, contact.GAP : contact.GAP + side]
        assert upper_left(panel.reshape(SIZE, 6, SIZE, 6).mean(axis=(1, 3)))

    def test_a_flipped_field_is_noticed(self, corners):
        store = open_store(corners / "tiny.zarr")
        assert not any(upper_left(image[::-1, :, 0]) for image in store.images(store.usable))


def near(ra: np.ndarray, dec: np.ndarray, arcsec: np.ndarray, angle: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Positions (degrees) that far from others in the direction of an angle, on the sphere."""
    distance, lat = np.radians(arcsec / 3600), np.radians(dec)
    there = np.arcsin(np.sin(lat) * np.cos(distance) + np.cos(lat) * np.sin(distance) * np.cos(angle))
    east = np.arctan2(np.sin(angle) * np.sin(distance) * np.cos(lat), np.cos(distance) - np.sin(lat) * np.sin(there))
    return (ra + np.degrees(east)) % 360, np.degrees(there)


class TestLeaks:
    """Planted leaks are found, all of them, across RA 0 and at the poles too, and none where there is none."""

    COUNT = 60

    @pytest.fixture(scope="class")
    @classmethod
    def sky(cls):
        """(ra, dec) of places of which a third is at the poles and a third at RA 0, and random directions."""
        draw = np.random.default_rng(1)
        ra = np.concatenate([draw.uniform(0, 360, 20), 18.0 * np.arange(20), draw.uniform(-3e-4, 3e-4, 20) % 360])
        poles = np.where(np.arange(20) % 2, -89.99, 89.99)  # 36″ from them, and 22″ from one another
        dec = np.concatenate([np.degrees(np.arcsin(draw.uniform(-1, 1, 20))), poles, draw.uniform(-60, 60, 20)])
        return ra, dec, draw.uniform(0, 2 * np.pi, cls.COUNT)

    @pytest.mark.parametrize(("arcsec", "share"), [(0.3, 1), (0.999, 1), (1.001, 0), (5, 0)])
    def test_by_position(self, sky, arcsec, share):
        ra, dec, angle = sky
        other = near(ra, dec, np.full(self.COUNT, arcsec), angle)
        found = close_pairs({"ra": ra, "dec": dec}, {"ra": other[0], "dec": other[1]})
        assert sorted(map(tuple, found.tolist())) == [(n, n) for n in range(share * self.COUNT)]
        mask = crossmatch.near_any(*other, (ra, dec), 1.0)
        assert mask.sum() == share * self.COUNT

    @pytest.mark.parametrize("arcsec", [0.3, 0.999])
    def test_between_the_splits_of_a_store(self, tmp_path, sky, arcsec):
        """Each train object has a double in another split; ``check`` counts every pair."""
        store = make_store(tmp_path / "toy", objects=48)
        ra, dec, angle = (values[20:44] for values in sky)
        split = np.repeat(np.array([0, 1], dtype=np.uint8), 24)
        other = near(ra, dec, np.full(24, arcsec), angle)
        rewrite(store, {}, split=split, ra=np.concatenate([ra, other[0]]), dec=np.concatenate([dec, other[1]]))
        (found,) = [fault for fault in check(store, deep=True) if "lie in different splits" in fault]
        assert found.startswith("24 pairs of objects within 1 arcsec")

    def test_by_id(self, tmp_path):
        pretext = open_store(make_store(tmp_path / "a", ra=10.0))
        seen = Seen(run="earlier", store="a", objects=pretext.table)
        labelled = open_store(make_store(tmp_path / "b", ra=200.0))
        with pytest.raises(InputError, match="48 object ids, first T0000"):
            check_leakage(seen, labelled)
        clean = open_store(make_store(tmp_path / "c", ra=200.0, prefix="C"))
        assert check_leakage(seen, clean)["shared"] == 0


class TestMetrics:
    """A metric is of objects: ranks and batches do not show in it."""

    def measured(self, workdir, run):
        result = json.loads((folder_of(workdir, run) / "result.json").read_text())
        return {split: found["accuracy"] for split, found in result["metrics"].items()}, result

    @pytest.fixture(scope="class")
    @classmethod
    def alone(cls, tmp_path_factory):
        workdir = tmp_path_factory.mktemp("alone")
        make_store(workdir / "toy", objects=60)
        train(make_run(FIXED), workdir)
        return workdir

    @pytest.mark.parametrize("batch_size", [7, 9, 64])
    def test_batches_that_do_not_divide_the_objects(self, alone, batch_size):
        expected, one = self.measured(alone, make_run(FIXED))
        train(make_run(FIXED, batch_size=batch_size), alone)
        found, other = self.measured(alone, make_run(FIXED, batch_size=batch_size))
        assert found == expected
        assert other["metrics"]["test"]["loss"] == pytest.approx(one["metrics"]["test"]["loss"], rel=1e-6)
        with np.load(folder_of(alone, make_run(FIXED, batch_size=batch_size)) / "predictions.npz") as made:
            test = made["split"] == "test"
            right = made["output"][test].argmax(axis=1) == made["truth"][test]
            assert len(set(made["object_id"][test])) == test.sum() == 10
        assert found["test"] == pytest.approx(right.mean(), abs=1e-12)

    def test_three_ranks(self, alone, tmp_path):
        """10 objects on 3 ranks: shares of different sizes."""
        shutil.copytree(alone / "toy", tmp_path / "toy")
        (tmp_path / "run.yaml").write_text(config.dump(make_run(FIXED)))
        command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "3", "-m"]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "OMP_NUM_THREADS": "1"}
        done = subprocess.run([*command, "hpc_astrossl", "train", "run.yaml"], cwd=tmp_path, env=environment,
                              capture_output=True, text=True, timeout=280)  # fmt: skip
        assert done.returncode == 0, done.stderr
        expected, one = self.measured(alone, make_run(FIXED))
        found, other = self.measured(tmp_path, make_run(FIXED))
        assert other["engine"]["ranks"] == 3
        assert found == expected
        assert other["metrics"]["test"]["loss"] == pytest.approx(one["metrics"]["test"]["loss"], rel=1e-6)


def test_shuffled_labels_give_chance(tmp_path):
    """The negative control: colours tell the class, and with labels dealt anew nothing does. What could still tell,
    an id, an order, a place, would be a leak."""
    phase = PhaseSpec(trains="head", optimizer="adam", learning_rate=1e-2, epochs=15)
    make_store(tmp_path / "toy", objects=72)
    true = train(make_run(phase), tmp_path)["metrics"]["validation"]["accuracy"]
    dealt = [train(make_run(phase, seed=seed, control="shuffled-labels"), tmp_path)["metrics"]["validation"]["accuracy"]
             for seed in range(5)]  # fmt: skip
    assert true > 0.9
    assert abs(np.mean(dealt) - 0.5) < 3 * 0.5 / np.sqrt(5 * 12)
