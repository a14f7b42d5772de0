"""Done means done from what lies there now: what is out of date is named, refused, and made again with --remake."""

import json
import os
import shutil

import numpy as np
import pytest
import yaml
from PIL import Image
from test_identity import made_before, remade, trained_again
from training_toys import BRIEF, make_store

from hpc_astrossl import config, identity, inputs
from hpc_astrossl.cli import main
from hpc_astrossl.errors import EXIT_DONE, EXIT_INPUT
from hpc_astrossl.launch import current, grid
from hpc_astrossl.launch.status import rows
from hpc_astrossl.specs.jobs import JobsSpec
from hpc_astrossl.store import layout
from hpc_astrossl.training.run import train

RECIPE = f"""\
experiment: toys
pretext: {{store: pre}}
sets:
  toy: {{store: toy}}
schemes: [features-magnitudes]
seeds: [0]
report: false
{BRIEF}"""


def expanded(path):
    return grid.expand(config.load(path, JobsSpec), where=str(path))


@pytest.fixture(scope="module")
def study(tmp_path_factory):
    """A pretext run and one on its weights, done."""
    workdir = tmp_path_factory.mktemp("study")
    make_store(workdir / "pre", prefix="P", ra=100)
    make_store(workdir / "toy")
    (workdir / "toys.yaml").write_text(RECIPE)
    for run in expanded(workdir / "toys.yaml").runs:
        train(run, workdir)
    return workdir


@pytest.fixture
def workdir(study, tmp_path, monkeypatch):
    place = shutil.copytree(study, tmp_path / "work")
    monkeypatch.chdir(place)
    return place


def judged(workdir, name="toys.yaml"):
    plan = expanded(workdir / name)
    return current.standing(plan.items, plan.experiment, workdir)


def keys(workdir):
    """The pretext run's id, and the other's."""
    return [run.run_id for run in expanded(workdir / "toys.yaml").runs]


def test_what_was_made_from_what_lies_there_is_done(workdir):
    found = judged(workdir)
    assert found.done == set(keys(workdir))
    assert not found.outdated
    assert not found.unmarked


def new_store(workdir):
    remade(workdir / "toy")


def new_pretext_store(workdir):
    remade(workdir / "pre", prefix="P", ra=100)


def new_weights(workdir):
    trained_again(workdir / "runs/toys" / keys(workdir)[0])


def no_pretext(workdir):
    shutil.rmtree(workdir / "runs/toys" / keys(workdir)[0])


@pytest.mark.parametrize(
    ("change", "reasons"),
    [
        (new_store, [None, "was trained on another store than lies at toy"]),
        (
            new_pretext_store,
            ["was trained on another store than lies at pre", "began from run {}, which was trained on another store"],
        ),
        (new_weights, [None, "began from other weights than run {} has now"]),
        (no_pretext, [None, "was made from {}, which is not there any more"]),
    ],
)
def test_a_run_that_was_made_from_something_else_is_out_of_date_and_why(workdir, capsys, change, reasons):
    change(workdir)
    pretext, later = keys(workdir)
    found = judged(workdir)
    for key, reason in zip((pretext, later), reasons, strict=True):
        assert (key in found.outdated) == (reason is not None)
        if reason:
            assert found.outdated[key].startswith(reason.format(pretext))
    assert main(["plan", "toys.yaml"]) == EXIT_DONE
    assert f"out of date  {later}: " in capsys.readouterr().out
    for options in ([], ["--dry-run"]):
        assert main(["submit", "toys.yaml", "--cluster", "local", *options]) == EXIT_INPUT
        told = capsys.readouterr().err
        assert all(f"{key}: {found.outdated[key]}" in told for key in found.outdated)
        assert "With --remake, submit sets these aside" in told


def test_a_copied_folder_is_out_of_date(workdir, capsys):
    first, second = keys(workdir)
    folder = workdir / "runs/toys"
    shutil.rmtree(folder / second)
    shutil.copytree(folder / first, folder / second)
    assert f"holds the result of run {first}" in judged(workdir).outdated[second]
    assert main(["submit", "toys.yaml", "--cluster", "local"]) == EXIT_INPUT
    assert "its folder was copied or renamed" in capsys.readouterr().err


@pytest.mark.parametrize("change", ["edited", "removed", "threads"])
def test_a_configuration_that_was_edited_after_the_run_is_noticed(workdir, capsys, change):
    pretext, later = keys(workdir)
    path = workdir / f"runs/toys/{pretext}/config.yaml"
    text = {"edited": ("scaling: unit", "scaling: none"), "threads": ("threads: 1", "threads: 2")}.get(change)
    path.unlink() if text is None else path.write_text(path.read_text().replace(*text))
    found = judged(workdir)
    if change == "threads":  # decides nothing
        assert not found.outdated
        return
    words = "has a config.yaml that was edited after the run"
    assert found.outdated == {pretext: words, later: f"began from run {pretext}, which {words}"}
    assert main(["predict", f"runs/toys/{later}", "toy", "--out", "p.csv"]) == EXIT_INPUT
    assert words in capsys.readouterr().err


def test_a_run_of_another_store_is_not_done_for_train_either(workdir, capsys):
    new_store(workdir)
    _, later = keys(workdir)
    assert main(["train", f"runs/toys/{later}/config.yaml"]) == EXIT_INPUT
    told = capsys.readouterr().err
    assert "was trained on another store than lies at toy" in told
    assert "--remake" in told


@pytest.mark.slow
def test_remake_sets_aside_and_makes_again_with_all_that_depends_on_it(workdir, capsys):
    pretext, later = keys(workdir)
    old = {key: (workdir / f"runs/toys/{key}/result.json").read_bytes() for key in (pretext, later)}
    new_pretext_store(workdir)
    assert main(["submit", "toys.yaml", "--cluster", "local", "--remake"]) == EXIT_DONE
    assert "2 made, 0 failed" in capsys.readouterr().out
    for key in (pretext, later):
        (kept,) = workdir.glob(f"runs/toys/.replaced/*/{key}/result.json")
        assert kept.read_bytes() == old[key]
        result = json.loads((workdir / f"runs/toys/{key}/result.json").read_text())
        assert result["store"]["sha256"] == identity.of_store(workdir / result["store"]["path"])
    assert judged(workdir).done == {pretext, later}
    new_store(workdir)
    states = {row.key: row.state for row in rows("toys", workdir)}
    assert states == {pretext: "done", later: "out of date"}
    assert main(["status", "toys"]) == EXIT_DONE
    assert f"out of date {later}: was trained on another store" in capsys.readouterr().out


def test_weights_that_are_others_than_a_run_has_left(workdir, capsys):
    pretext, later = keys(workdir)
    folder = workdir / "runs/toys" / later
    path, whole = folder / "weights.safetensors", (folder / "weights.safetensors").read_bytes()
    path.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    words = f"{later}: {identity.REPLACED.format('weights.safetensors')}"
    assert judged(workdir).done == {pretext}
    assert main(["plan", "toys.yaml"]) == EXIT_DONE
    assert f"out of date  {words}" in capsys.readouterr().out
    assert main(["submit", "toys.yaml", "--cluster", "local"]) == EXIT_INPUT
    assert words in capsys.readouterr().err
    assert main(["train", str(folder / "config.yaml")]) == EXIT_INPUT
    assert f"{words}; bring it back; it is not trained again by itself: " in capsys.readouterr().err
    path.write_bytes(whole)  # younger than the result, and the same
    assert judged(workdir).done == {pretext, later}


def test_runs_that_begin_from_a_run_whose_weights_are_others(workdir):
    pretext, later = keys(workdir)
    path = workdir / "runs/toys" / pretext / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    assert set(judged(workdir).outdated) == {pretext, later}


def test_runs_of_before_stay_done_and_are_marked(workdir, capsys):
    for key in keys(workdir):
        made_before(workdir / "runs/toys" / key)
    new_store(workdir)
    found = judged(workdir)
    assert found.done == set(found.unmarked) == set(keys(workdir))
    assert main(["plan", "toys.yaml"]) == EXIT_DONE
    assert f"2 runs ({keys(workdir)[0]}, …): {identity.UNKNOWN}" in capsys.readouterr().out


# ---- stores


@pytest.fixture
def pictures(tmp_path, monkeypatch):
    """A folder of pictures, its recipe, and an experiment that makes a store of it in two tasks."""
    monkeypatch.setattr(layout, "CHUNK_BYTES", 12_000)
    monkeypatch.setattr(layout, "SHARD_ROWS", 8)
    source = np.random.default_rng(0)
    for number in range(24):
        folder = tmp_path / "src" / ("star" if number % 2 else "galaxy")
        folder.mkdir(parents=True, exist_ok=True)
        pixels = source.integers(0, 255, (40, 40, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(folder / f"{number:03d}.png")
    from hpc_astrossl.launch.prepare import CLUSTERS

    shutil.copyfile(CLUSTERS.absolute().parents[1] / "preprocess/image_folder.yaml", tmp_path / "recipe.yaml")
    jobs(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def jobs(workdir, tasks=2, settings=("size=32",)):
    spec = {"recipe": "recipe.yaml", "source": "src", "out": "st/images.zarr", "settings": [*settings], "tasks": tasks}
    text = {"experiment": "pics", "preprocess": [spec], "report": False}
    (workdir / "jobs.yaml").write_text(yaml.safe_dump(text))


def make(workdir):
    for item in expanded(workdir / "jobs.yaml").items:
        assert main([*item.command, *(["--workers", "1"] if item.command[0] == "preprocess" else [])]) == EXIT_DONE


def edit(workdir, **changes):
    recipe = yaml.safe_load((workdir / "recipe.yaml").read_text())
    recipe["stores"]["images"]["labels"]["classes"] = changes["classes"]
    (workdir / "recipe.yaml").write_text(yaml.safe_dump(recipe, sort_keys=False))


@pytest.mark.parametrize("tasks", [1, 2])
def test_a_store_made_by_other_settings_or_another_recipe_is_out_of_date(pictures, capsys, tasks):
    jobs(pictures, tasks)
    make(pictures)
    every = {item.key for item in expanded(pictures / "jobs.yaml").items}
    assert judged(pictures, "jobs.yaml").done == every
    jobs(pictures, tasks, settings=("size=24",))
    found = judged(pictures, "jobs.yaml")
    assert set(found.outdated) == every
    assert "by another recipe or other settings (size: 32 then, 24 now)" in found.outdated["st/images.zarr"]
    assert main(["submit", "jobs.yaml", "--cluster", "local"]) == EXIT_INPUT
    told = capsys.readouterr().err
    assert "st/images.zarr: was made by another recipe" in told
    assert "1 stores and 0 runs" in told
    jobs(pictures, tasks)
    edit(pictures, classes={"star": ["star"], "galaxy": ["galaxy"]})
    first = judged(pictures, "jobs.yaml").outdated
    edit(pictures, classes={"galaxy": ["galaxy"], "star": ["star"]})
    second = judged(pictures, "jobs.yaml").outdated
    assert bool(first) != bool(second)  # the order of classes is that of their numbers


def _replace(folder):
    """Another picture of the same name, size and time: what a careful copy leaves."""
    path = folder / "star/001.png"
    facts, data = path.stat(), bytearray(path.read_bytes())
    data[-20] ^= 1
    path.write_bytes(bytes(data))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))


CHANGED = {
    "replaced": (_replace, "was made from another star/001.png (SHA-256"),
    "of another size": (lambda folder: (folder / "star/001.png").write_bytes(b"x"), "another star/001.png ("),
    "moved": (lambda folder: (folder / "star/001.png").rename(folder / "galaxy/001.png"), "star/001.png, which is not"),
    "added": (lambda folder: shutil.copyfile(folder / "star/001.png", folder / "star/new.png"), "without star/new.png"),
    "a folder": (lambda folder: shutil.copytree(folder / "star", folder / "quasar"), "without quasar/001.png and 11"),
    "removed": (lambda folder: (folder / "galaxy/000.png").unlink(), "galaxy/000.png, which is not there any more"),
}


@pytest.mark.parametrize("change", CHANGED)
def test_pictures_that_are_others_now_are_noticed_by_plan_and_submit(pictures, capsys, change):
    jobs(pictures, 1)
    make(pictures)
    assert not judged(pictures, "jobs.yaml").outdated
    alter, words = CHANGED[change]
    alter(pictures / "src")
    found = judged(pictures, "jobs.yaml").outdated
    assert words in found["st/images.zarr"]
    assert main(["submit", "jobs.yaml", "--cluster", "local"]) == EXIT_INPUT
    assert words in capsys.readouterr().err
    assert main(["plan", "jobs.yaml"]) == EXIT_DONE
    assert words in capsys.readouterr().out


def test_pictures_that_were_touched_or_copied_are_the_same(pictures):
    jobs(pictures, 2)
    make(pictures)
    (pictures / "src").rename(pictures / "old")
    shutil.copytree(pictures / "old", pictures / "src", copy_function=shutil.copyfile)
    assert not judged(pictures, "jobs.yaml").outdated
    (pictures / "src/notes.txt").write_text("no picture")
    assert not judged(pictures, "jobs.yaml").outdated


def test_a_file_that_was_replaced_while_the_store_was_made_is_hashed(pictures):
    """Its time is not believed: it may be that of what came after it was read."""
    jobs(pictures, 1)
    make(pictures)
    kept = json.loads(inputs.note_file(pictures / "st/images.zarr").read_text())["files"]
    source = pictures / "src"
    names = {name: {"bytes": facts[0], "sha256": facts[1]} for name, facts in kept.items()}
    inputs.note(pictures / "st/images.zarr", source, names, inputs.times(source, names), tree=True, since=0)
    facts, data = (source / "star/001.png").stat(), bytearray((source / "star/001.png").read_bytes())
    data[-20] ^= 1
    (source / "star/001.png").write_bytes(bytes(data))
    os.utime(source / "star/001.png", ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert "another star/001.png" in judged(pictures, "jobs.yaml").outdated["st/images.zarr"]


def test_a_store_without_a_note_is_not_judged_by_its_pictures(pictures):
    jobs(pictures, 1)
    make(pictures)
    inputs.note_file(pictures / "st/images.zarr").unlink()
    _replace(pictures / "src")
    assert not judged(pictures, "jobs.yaml").outdated


def test_notes_count_as_long_as_their_shards_lie_there(pictures):
    first, second, store = (item.key for item in expanded(pictures / "jobs.yaml").items)
    command = expanded(pictures / "jobs.yaml").items[0].command
    assert main([*command, "--workers", "1"]) == EXIT_DONE
    assert judged(pictures, "jobs.yaml").done == {first}
    make(pictures)
    shutil.rmtree(pictures / "st/images.tasks")
    assert judged(pictures, "jobs.yaml").done == {first, second, store}  # the store says all
    make(pictures)
    shutil.rmtree(pictures / "st/images.zarr")
    found = judged(pictures, "jobs.yaml")
    assert not found.done
    assert found.stale == {first, second}


def test_a_store_that_is_finished_while_it_is_looked_at_is_there(pictures, monkeypatch):
    """Its making goes when the store gets its name: who looks for one, then for the other, may find neither."""
    first, second, _ = (item.key for item in expanded(pictures / "jobs.yaml").items)
    make(pictures)
    store, aside = pictures / "st/images.zarr", pictures / "st/aside"
    store.rename(aside)

    def finished_meanwhile(*_):
        if aside.exists():
            aside.rename(store)
        return False

    monkeypatch.setattr(current, "_shards_lie", finished_meanwhile)
    found = judged(pictures, "jobs.yaml")
    assert {first, second} <= found.done
    assert not found.stale


@pytest.mark.slow
def test_a_store_that_was_removed_is_made_again(pictures, capsys):
    make(pictures)
    shutil.rmtree(pictures / "st/images.zarr")
    assert main(["submit", "jobs.yaml", "--cluster", "local"]) == EXIT_DONE
    assert "3 made, 0 failed" in capsys.readouterr().out
    assert len(judged(pictures, "jobs.yaml").done) == 3


@pytest.mark.slow
def test_remake_keeps_the_old_store(pictures, capsys):
    make(pictures)
    before = identity.of_store(pictures / "st/images.zarr")
    jobs(pictures, settings=("size=24",))
    assert main(["submit", "jobs.yaml", "--cluster", "local", "--remake"]) == EXIT_DONE
    assert "3 made, 0 failed" in capsys.readouterr().out
    (old,) = pictures.glob("st/.replaced/*/images.zarr")
    assert identity.of_store(old) == before
    assert identity.of_store(pictures / "st/images.zarr") != before
