"""Finished runs put to use: ``embed`` and ``predict`` give what the run itself reported."""

import csv
import json

import numpy as np
import pytest
import torch
from PIL import Image
from training_toys import BANDS, HEAD, make_run, make_store

from hpc_astrossl import names
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT, InputError
from hpc_astrossl.nets import vgg
from hpc_astrossl.store import embedding, open_store
from hpc_astrossl.training import apply, parts
from hpc_astrossl.training.folder import run_path
from hpc_astrossl.training.run import train

pytestmark = pytest.mark.usefixtures("narrow")


def trained(workdir, **changes):
    make_store(workdir / "toy")
    run = make_run(HEAD, **changes)
    train(run, workdir)
    return run_path(workdir, run.experiment, names.resolved(run).run_id)


@pytest.fixture(scope="module")
def workdir(tmp_path_factory):
    return tmp_path_factory.mktemp("work")


@pytest.fixture(scope="module")
def folder(workdir):
    return trained(workdir)


def rows_of(folder, ids):
    found = np.load(folder)
    return found, np.searchsorted(ids, found["object_id"])


def test_features_are_those_of_the_run(workdir, folder, tmp_path):
    out = tmp_path / "features.npz"
    assert main(["embed", str(folder), str(workdir / "toy"), "--out", str(out)]) == EXIT_DONE
    embedded = np.load(out)
    reported, rows = rows_of(folder / "features.npz", embedded["object_id"])
    assert embedded["features"].shape == (48, vgg.CHANNELS)
    assert embedded["label"].tolist() == [0, 1] * 24
    np.testing.assert_allclose(embedded["features"][rows], reported["features"], rtol=1e-4, atol=1e-5)
    assert not list(tmp_path.glob("*.parts"))


def test_zarr_and_parquet_hold_the_same(workdir, folder, tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    outs = [tmp_path / f"features.{suffix}" for suffix in ("zarr", "parquet", "npz")]
    command = ["embed", str(folder), str(workdir / "toy")]
    assert main([*command, *(word for out in outs for word in ("--out", str(out)))]) == EXIT_DONE
    kept, plain = embedding.read(outs[0]), np.load(outs[2])
    table = parquet.read_table(outs[1])
    for name in ("object_id", "label", "features"):
        np.testing.assert_array_equal(getattr(kept, name), plain[name])
        np.testing.assert_array_equal(table[name].to_pylist(), plain[name].tolist())
    store = open_store(workdir / "toy")
    row = {name: row for row, name in enumerate(store.table["object_id"].tolist())}
    rows = [row[name] for name in table["object_id"].to_pylist()]
    for name in ("ra", "dec"):  # in Parquet alone, which is what crossmatches and HATS take
        np.testing.assert_array_equal(table[name].to_numpy(), store.table[name][rows])
        assert name not in plain.files
    assert kept.class_names == ("red", "blue")
    assert kept.about["store"] == str((workdir / "toy").resolve())
    assert table.schema.metadata[b"run"].decode() == folder.name


def job(workdir, folder, out, **more):
    return apply.Job(run=folder, source=workdir / "toy", outs=[out], part_rows=10, **more)


def test_tasks_share_the_parts_and_the_last_one_puts_them_together(workdir, folder, tmp_path):
    whole, shared = tmp_path / "whole.csv", tmp_path / "shared.csv"
    assert apply.predict(job(workdir, folder, whole)).objects == 48
    assert [apply.predict(job(workdir, folder, shared, task=(task, 3))).objects for task in (2, 0)] == [None, None]
    assert not shared.exists()
    assert apply.predict(job(workdir, folder, shared, task=(1, 3))).objects == 48
    assert whole.read_text() == shared.read_text()


@pytest.mark.parametrize("verb", ["predict", "embed"])
def test_what_was_made_is_told_as_json(workdir, folder, tmp_path, capsys, verb):
    command = [verb, str(folder), str(workdir / "toy"), "--out", str(tmp_path / "a.npz"), "--json"]
    source, out = str(workdir / "toy"), [str(tmp_path / "a.npz")]
    for task, done in (("2/2", None), ("1/2", 48)):
        capsys.readouterr()
        assert main([*command, "--task", task]) == EXIT_DONE
        told = json.loads(capsys.readouterr().out)
        assert told == {"run": str(folder), "source": source, "out": out, "task": task,
                        "done": done is not None, "objects": done, "left_out": {}, "remarks": []}  # fmt: skip


def test_a_second_try_makes_only_what_is_missing(workdir, folder, tmp_path, monkeypatch):
    out, written = tmp_path / "answers.csv", []
    write = parts.Parts.write

    def failing(self, part, columns):
        if part.turn == 3 and part not in written:
            written.append(part)
            raise KeyboardInterrupt
        written.append(part)
        write(self, part, columns)

    monkeypatch.setattr(parts.Parts, "write", failing)
    with pytest.raises(KeyboardInterrupt):
        apply.predict(job(workdir, folder, out))
    assert apply.predict(job(workdir, folder, out)).objects == 48
    assert [share.turn for share in written] == [0, 1, 2, 3, 3, 4]
    assert len(out.read_text().splitlines()) == 49


def test_parts_that_went_while_one_waited_for_them_are_named(tmp_path, monkeypatch):
    made = parts.Parts(tmp_path / "p", parts.even(2, 1), {})
    made.open()
    made.remove()
    with (
        pytest.raises(InputError, match=r"p: another process has finished or removed it meanwhile"),
        made.working(0, 1),
    ):
        pass
    monkeypatch.setattr(parts, "write_aside", lambda *_: (tmp_path / "p/about.json").stat())
    with pytest.raises(InputError, match=r"p: another process has finished or removed it meanwhile"):
        made.open()


def test_a_damaged_part_is_named(tmp_path):
    made = parts.Parts(tmp_path / "p", parts.even(2, 1), {})
    made.open()
    made.write(made.shares[0], {"x": np.zeros(3)})
    (tmp_path / "p" / "part-000001.npz").write_bytes(b"PK")
    with pytest.raises(InputError, match=r"part-000001\.npz: damaged"):
        list(made.read())


def test_parts_of_other_work_are_not_mixed_in(tmp_path):
    parts.Parts(tmp_path / "p", parts.even(2, 1), {"run": "a", "weights_sha256": "1"}).open()
    with pytest.raises(InputError, match="holds parts of other work"):
        parts.Parts(tmp_path / "p", parts.even(2, 1), {"run": "b", "weights_sha256": "2"}).open()
    parts.Parts(tmp_path / "old", parts.even(2, 1), {"run": "a"}).open()
    with pytest.raises(InputError, match="holds parts made before identities were kept; remove it"):
        parts.Parts(tmp_path / "old", parts.even(2, 1), {"run": "a", "weights_sha256": "1"}).open()


@pytest.mark.parametrize(
    "left", ["both forms and the parts", "one form and the parts", "parts that were being removed"]
)
def test_interrupted_at_its_end_it_is_finished_by_the_same_command(workdir, folder, tmp_path, monkeypatch, left):
    outs = [tmp_path / "table.csv", tmp_path / "table.npz"]
    work = apply.Job(run=folder, source=workdir / "toy", outs=outs, part_rows=10)
    assert apply.predict(work).objects == 48
    whole = [out.read_bytes() for out in outs]
    for out in outs:
        out.unlink()
    with monkeypatch.context() as patch:
        patch.setattr(parts.Parts, "remove", lambda self: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            apply.predict(work)
    if left == "one form and the parts":
        outs[1].unlink()
    if left == "parts being removed":
        (tmp_path / "table.csv.parts").rename(tmp_path / ".table.csv.parts.done")
    assert apply.predict(work).objects == 48
    assert [out.read_bytes() for out in outs] == whole
    assert sorted(tmp_path.iterdir()) == [outs[0], tmp_path / "table.csv.json", outs[1]]
    with pytest.raises(InputError, match="is there already"):
        apply.predict(work)


def test_answers_are_those_of_the_run(workdir, folder, tmp_path):
    out = tmp_path / "answers.csv"
    assert main(["predict", str(folder), str(workdir / "toy"), "--out", str(out)]) == EXIT_DONE
    table = list(csv.DictReader(out.read_text().splitlines()))
    assert list(table[0]) == ["object_id", "class", "p_red", "p_blue"]
    reported, rows = rows_of(folder / "predictions.npz", np.array([line["object_id"] for line in table]))
    assert [float(table[row]["p_blue"]) for row in rows] == pytest.approx(reported["output"][:, 1], abs=1e-5)
    assert [table[row]["class"] for row in rows] == [["red", "blue"][k] for k in reported["output"].argmax(axis=1)]


def test_a_folder_of_pictures_is_cut_and_answered_like_the_store(workdir, folder, tmp_path):
    pictures, store = tmp_path / "pictures", open_store(workdir / "toy")
    pictures.mkdir()
    for name, image in zip(store.table["object_id"][:5], store.images(np.arange(5)), strict=True):
        wide = np.pad(image, ((0, 0), (6, 6), (0, 0)))  # what lies beside the central square is cut off
        Image.fromarray(wide).save(pictures / f"{name}.png")
    for source, out in ((pictures, "some.npz"), (workdir / "toy", "all.npz")):
        assert main(["predict", str(folder), str(source), "--out", str(tmp_path / out)]) == EXIT_DONE
    some, every = np.load(tmp_path / "some.npz"), np.load(tmp_path / "all.npz")
    assert some["object_id"].tolist() == every["object_id"][:5].tolist()
    assert some["p_blue"] == pytest.approx(every["p_blue"][:5], abs=1e-5)


def test_magnitudes_are_answered_by_band(tmp_path):
    folder = trained(tmp_path, target="magnitudes")
    assert main(["predict", str(folder), str(tmp_path / "toy"), "--out", str(tmp_path / "m.npz")]) == EXIT_DONE
    answers = np.load(tmp_path / "m.npz")
    assert answers.files == ["object_id", *BANDS]
    assert 10 < answers["r"].min() < answers["r"].max() < 30


def test_properties_are_answered_in_their_units():
    run = make_run(HEAD, target="measured", bands=("ellipticity", "log_flux"))
    result = {"bands": ["ellipticity", "log_flux"], "class_names": [], "store": {"name": "toy"}}
    target = apply.Trained(run=run, result=result, model=None, size=(32, 32)).target
    assert target.answer(torch.tensor([[0.5, 0.5]])).tolist() == [[0.5, 4.0]]


def test_another_store_is_scaled_as_the_one_of_the_training(tmp_path):
    folder = trained(tmp_path, scaling="standard")
    other = make_store(tmp_path / "other", statistics={"mean": [9.0] * 3, "std": [1.0] * 3, "noise": [1.0] * 3})
    for store, out in ((tmp_path / "toy", "own.npz"), (other, "other.npz")):
        assert main(["embed", str(folder), str(store), "--out", str(tmp_path / out)]) == EXIT_DONE
    own, found = (np.load(tmp_path / name)["features"] for name in ("own.npz", "other.npz"))
    np.testing.assert_array_equal(found, own)


def test_a_run_that_kept_no_statistics_is_named(tmp_path, capsys):
    folder = trained(tmp_path, scaling="standard")
    result = json.loads((folder / "result.json").read_text())
    del result["store"]["statistics"]
    (folder / "result.json").write_text(json.dumps(result))
    assert main(["embed", str(folder), str(tmp_path / "toy"), "--out", str(tmp_path / "a.npz")]) == EXIT_INPUT
    assert "data.scaling standard goes by the statistics of the store" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("source", "out", "message"),
    [
        ("gone", "a.csv", "gone: neither a store nor a folder of images"),
        ("empty", "a.csv", "empty: no images in it (.jpg, .jpeg, .png"),
        ("broken", "a.csv", "broken/a.png: unreadable or truncated image"),
        ("toy", "a.fits", "a.fits: the name must end with one of .csv, .parquet, .npz"),
        ("toy", "there.csv", "there.csv: is there already"),
        ("toy", "b.csv", "b.csv.json is there already, and tells of no table"),
    ],
)
def test_wrong_sources_are_named(workdir, folder, tmp_path, capsys, source, out, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "a.png").write_bytes(b"no image")
    for name in ("there.csv", "b.csv.json"):
        (tmp_path / name).write_text("mine")
    place = workdir / "toy" if source == "toy" else tmp_path / source
    assert main(["predict", str(folder), str(place), "--out", str(tmp_path / out)]) == EXIT_INPUT
    assert message in capsys.readouterr().err
    assert (tmp_path / "b.csv.json").read_text() == "mine"


def test_an_unfinished_run_is_named(workdir, tmp_path, capsys):
    assert main(["embed", str(tmp_path), str(workdir / "toy"), "--out", "f.npz"]) == EXIT_INPUT
    assert "not the folder of a finished run (there is no result.json in it)" in capsys.readouterr().err


@pytest.mark.parametrize("words", ["5/4", "0/4", "1", "a/b", "-1/2"])
def test_wrong_tasks_are_refused(workdir, folder, tmp_path, capsys, words):
    command = ["predict", str(folder), str(workdir / "toy"), "--out", str(tmp_path / "a.csv"), f"--task={words}"]
    assert main(command) == EXIT_INPUT
    assert f"--task {words}: expected I/N, two whole numbers with 1 ≤ I ≤ N" in capsys.readouterr().err


@pytest.mark.parametrize(("verb", "column"), [("embed", "_features"), ("predict", "_answers")])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_numbers_that_are_none_are_named_or_left_out(
    workdir, folder, tmp_path, capsys, monkeypatch, verb, column, value
):
    """Of pixels without a value a network makes no answer: ``embed`` and ``predict`` never write one."""
    original = getattr(apply, column)

    def spoilt(trained, encoded):
        found = original(trained, encoded)
        if len(next(iter(found.values()))) >= 32:  # the first batch
            for name, numbers in found.items():
                if numbers.dtype.kind == "f":
                    found[name] = numbers.copy()
                    found[name][3] = value
        return found

    monkeypatch.setattr(apply, column, spoilt)
    out, ids = tmp_path / "out.npz", open_store(workdir / "toy").table["object_id"]
    command = [verb, str(folder), str(workdir / "toy"), "--out", str(out)]
    assert main(command) == EXIT_INPUT
    assert f"object {ids[3]}: what the network makes of it is not finite" in capsys.readouterr().err
    assert not out.exists()
    listed = tmp_path / "out.npz.rejected.csv"
    listed.write_text("mine")
    assert main([*command, "--unreadable", "skip"]) == EXIT_INPUT
    assert f"{listed}: is there already, and is no list of what is left out" in capsys.readouterr().err
    assert listed.read_text() == "mine"
    listed.unlink()
    assert main([*command, "--unreadable", "skip"]) == EXIT_DONE
    made = np.load(out)
    assert ids[3] not in made["object_id"]
    assert all(np.isfinite(made[name]).all() for name in made if made[name].dtype.kind == "f")
    assert f"{ids[3]},pixels without a value" in listed.read_text()
