"""One selection for all tasks of a store: read from disk by the others, made anew when its tables have changed."""

import importlib
import json
import multiprocessing
import os
import time

import numpy as np
import pytest
from ingest_survey import Survey
from test_ingest_tasks import command, fingerprint, preprocess, small_shards, source, until, whole  # noqa: F401

from hpc_astrossl import cli
from hpc_astrossl.errors import InputError
from hpc_astrossl.ingest import lease
from hpc_astrossl.selection.columns import Columns, write_columns

building = importlib.import_module("hpc_astrossl.ingest.build")  # the package names its function so, too


@pytest.fixture
def reads(monkeypatch) -> list:
    """One entry each time the catalogue is read in this process."""
    seen, read = [], building.read_objects
    monkeypatch.setattr(building, "read_objects", lambda *a: (seen.append(a), read(*a))[1])
    return seen


def test_the_catalogue_is_read_once_for_any_number_of_tasks(source, tmp_path, whole, reads):  # noqa: F811
    for task in range(1, 21):
        assert preprocess(source, tmp_path, "--task", f"{task}/20") == 0
    assert len(reads) == 1
    assert fingerprint(tmp_path) == whole
    assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]


def test_who_was_killed_goes_on_without_reading_it_again(source, tmp_path, whole, reads, monkeypatch):  # noqa: F811
    def killed(*arguments):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(building, "portions", killed)
        with pytest.raises(KeyboardInterrupt):
            building.build(*_recipe(source, tmp_path), building.Options(tasks=2, workers=1))
    assert preprocess(source, tmp_path, "--task", "2/2") == 0
    assert len(reads) == 1
    assert preprocess(source, tmp_path, "--task", "1/2") == 0
    assert fingerprint(tmp_path) == whole


def _recipe(source, out):  # noqa: F811
    from ingest_survey import RECIPES

    from hpc_astrossl.specs.recipe import load_recipe

    return load_recipe(RECIPES / "simulated.yaml"), source, out


def test_a_table_that_was_touched_is_read_again_and_one_that_changed_is_refused(tmp_path, capsys, reads):
    survey = Survey(tmp_path / "survey")
    folder, out = survey.write(), tmp_path / "out"
    assert preprocess(folder, out, "--store", "SG", "--task", "1/2") == 0
    os.utime(folder / "master_catalog.cat")
    assert preprocess(folder, out, "--store", "SG", "--task", "1/2") == 0
    assert len(reads) == 2
    survey.rows[5]["r_auto"] += 0.01
    survey.write()
    assert preprocess(folder, out, "--store", "SG", "--task", "2/2") == 2
    assert "begun from another recipe, input or program" in capsys.readouterr().err


def test_a_plan_that_cannot_be_read_is_made_anew(source, tmp_path, whole, reads):  # noqa: F811
    preprocess(source, tmp_path, "--task", "1/2")
    for place in tmp_path.glob("*.partial/selection/*/objects.arrow"):
        place.write_bytes(place.read_bytes()[:-40])
    assert preprocess(source, tmp_path, "--task", "2/2") == 0
    assert len(reads) == 2
    assert fingerprint(tmp_path) == whole


def test_a_task_without_a_shard_of_a_finished_store_reads_nothing_and_leaves_its_note(source, tmp_path, whole, reads):  # noqa: F811
    tasks = [
        f"{task}/40" for task in range(40, 0, -1)
    ]  # shards are the last tasks' of each stretch: the first have none
    while tasks and not (tmp_path / "SGQ.zarr").is_dir():
        assert preprocess(source, tmp_path, "--store", "SGQ", "--task", tasks.pop(0)) == 0
    assert tasks
    for task in tasks:
        assert preprocess(source, tmp_path, "--store", "SGQ", "--task", task) == 0
    assert len(reads) == 1
    assert {f"{task}-of-40.json" for task in range(1, 41)} <= {path.name for path in (tmp_path / "SGQ.tasks").iterdir()}


def _wait(out, arrived, answer):
    arrived.set()
    try:
        with lease.selecting(out, "SG", "key", 2):
            answer.put("selects")
    except InputError as error:
        answer.put(str(error))


@pytest.mark.parametrize(("fault", "found"), [("no column 'ra'", "no column 'ra'"), (None, "selects")])
def test_who_waited_is_told_what_the_first_found(tmp_path, fault, found):
    context = multiprocessing.get_context("spawn")
    arrived, answer = context.Event(), context.Queue()
    process = context.Process(target=_wait, args=(tmp_path, arrived, answer))
    try:
        with lease.selecting(tmp_path, "SG", "key", 2):
            process.start()
            assert arrived.wait(60)
            time.sleep(1)  # it waits for the lease now
            if fault:
                raise InputError(fault)
    except InputError:
        pass
    assert answer.get(timeout=60) == found
    process.join()
    with lease.selecting(tmp_path, "SG", "key", 2):  # who did not wait looks for himself
        pass
    assert list(tmp_path.iterdir()) == []


def test_refused_input_leaves_no_folder(tmp_path, capsys):
    survey = Survey(tmp_path / "survey").write()
    options = ("--set", "catalogue.ra=RIGHT", "--task", "1/2")
    assert cli.main(command(survey, tmp_path / "out", *options)) == 2
    assert "no column 'RIGHT'" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".pretext.refused"]


def test_columns_are_what_was_written(tmp_path):
    random = np.random.default_rng(0)
    names = np.array([f"ü{i}" * (i % 5) for i in range(1000)])
    columns = {"id": names, "number": np.arange(1000) + 2**60, "code": np.arange(1000).astype(np.int16),
               "ra": np.where(random.random(1000) < 0.1, np.nan, random.random(1000)),
               "magnitudes": random.random((1000, 12))}  # fmt: skip
    parts = [{name: values[i : i + 300] for name, values in columns.items()} for i in range(0, 1000, 300)]
    write_columns(tmp_path / "c.arrow", parts)
    table = Columns(tmp_path / "c.arrow")
    assert len(table) == 1000
    for start, stop in ((0, 1000), (0, 0), (299, 301), (250, 950), (999, 1000)):
        for name, values in columns.items():
            found = table.read(name, start, stop)
            np.testing.assert_array_equal(found, values[start:stop])
            assert found.dtype.kind == values.dtype.kind
            assert found.shape == values[start:stop].shape
    assert json.dumps(table.names)


def test_columns_that_were_altered_are_named_by_whoever_reads_them(tmp_path):
    """Sound as a file, and of the same size: labels of other objects."""
    path, columns = tmp_path / "c.arrow", {"id": np.arange(1000).astype(str), "label": np.arange(1000)}
    blocks = [{name: values[i : i + 250] for name, values in columns.items()} for i in range(0, 1000, 250)]
    write_columns(path, blocks)
    sums = Columns(path).sums()
    np.testing.assert_array_equal(Columns(path, sums).read("label"), columns["label"])
    write_columns(path, [*blocks[:3], {**blocks[3], "label": blocks[3]["label"][::-1]}])
    altered = Columns(path, sums)
    np.testing.assert_array_equal(altered.read("label", 0, 750), columns["label"][:750])
    with pytest.raises(InputError, match=r"block 3 is not as it was written \(CRC-32\); remove the folder"):
        altered.read("id", 900, 901)


def test_what_a_killed_selection_left_is_removed_and_a_lease_that_is_held_is_not(tmp_path):
    with lease.selecting(tmp_path, "SG", "key", 1):
        (held,) = tmp_path.iterdir()
        lease.tidy(tmp_path, "SG")
        assert held.exists()
    held.write_text("of a process that was killed")
    lease.tidy(tmp_path, "SG")
    assert list(tmp_path.iterdir()) == []
