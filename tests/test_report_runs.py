"""Run folders become records; what is corrupt, foreign or twice there is named and left out."""

import json
import shutil

import pytest
from run_folders import begin_run, result, spec, write_plan, write_run

from hpc_astrossl import identity
from hpc_astrossl.errors import InputError
from hpc_astrossl.report.base.runs import find_experiment, read_study


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "runs" / "study"
    path.mkdir(parents=True)
    return path


def problem(study, name):
    """The reason under that name; fails unless there is exactly one."""
    (reason,) = [one.reason for one in study.problems if one.name == name]
    return reason


def test_a_run_is_read_as_it_was_written(folder):
    run = spec("SG", "finetune-magnitudes", 3, 100)
    write_run(folder, run, accuracy=0.875, test=0.85)
    (read,) = read_study(folder).runs
    assert read.slot == ("SG", "finetune-magnitudes", 100, 3)
    assert read.metric("validation", "accuracy") == 0.875
    assert read.metric("test", "macro_f1") == pytest.approx(0.82)
    assert read.store.counts["kept"] == 1000
    assert read.class_names == ("star", "galaxy")
    assert not read.failed


def test_keys_of_later_programs_are_passed_over(folder):
    write_run(folder, spec(), colour="blue", engine={"name": "torch", "reason": "", "ranks": 2, "fabric": "ib"})
    study = read_study(folder)
    assert study.runs[0].engine.ranks == 2
    assert study.problems == ()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{broken", "result.json cannot be read"),
        ("[1]", "result.json holds list"),
        ('{"format": "other"}', "not of a run (format 'other'"),
        ('{"format": "astrossl-run", "version": 7}', "has version 7, this program reads version 1"),
        ('{"format": "astrossl-run", "version": 1}', "missing keys run_id, experiment"),
    ],
)
def test_a_corrupt_result_is_named_and_the_rest_is_read(folder, text, words):
    write_run(folder, spec())
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text(text)
    study = read_study(folder)
    assert len(study.runs) == 1
    assert words in problem(study, "broken")


def test_a_result_that_was_edited_is_left_out(folder):
    sound = result(spec(seed=0))
    write_run(folder, spec(seed=0), files={"result.json": identity.seal(sound)})
    better = sound | {"metrics": {"test": {"accuracy": 0.99}}}
    write_run(folder, spec(seed=1), files={"result.json": identity.seal(better)})
    study = read_study(folder)
    assert [run.seed for run in study.runs] == [0]
    assert "result.json was edited after the run" in study.problems[0].reason


def test_a_wrong_type_is_named_with_its_key(folder):
    write_run(folder, spec(seed=0))
    bad = write_run(folder, spec(seed=1), epochs=12)
    data = json.loads((bad / "result.json").read_text()) | {"metrics": 5}
    (bad / "result.json").write_text(json.dumps(data))
    assert "metrics: expected a mapping, found 5" in problem(read_study(folder), bad.name)


def test_a_set_that_is_a_path_is_refused(folder):
    write_run(folder, spec(seed=0))
    bad = write_run(folder, spec(seed=1), set="../../elsewhere")
    assert "set '../../elsewhere' is not a name" in problem(read_study(folder), bad.name)


def test_a_copied_folder_is_left_out(folder):
    first = write_run(folder, spec())
    shutil.copytree(first, folder / "copy")
    study = read_study(folder)
    assert len(study.runs) == 1
    assert f"its result.json is of run {first.name}" in problem(study, "copy")


def test_a_foreign_run_is_left_out(folder):
    write_run(folder, spec(seed=0))
    write_run(folder, spec(seed=1))
    foreign = write_run(folder, spec(seed=2, experiment="other"))
    study = read_study(folder)
    assert study.experiment == "study"
    assert len(study.runs) == 2
    assert "a run of experiment 'other', not 'study'" in problem(study, foreign.name)


def test_of_two_configurations_the_planned_one_counts(folder):
    planned, other = spec(), spec(batch_size=64)
    write_run(folder, planned, provenance={"date": "2026-01-01"})
    write_run(folder, other, provenance={"date": "2026-02-01"})
    write_plan(folder, [planned])
    study = read_study(folder)
    assert [run.run_id for run in study.runs] == [planned.run_id]
    assert f"experiment.json plans {planned.run_id}" in problem(study, other.run_id)


def test_a_result_of_an_earlier_configuration_does_not_stand_for_the_planned_one(folder):
    old, new = spec(batch_size=64), spec()
    write_run(folder, old)
    write_run(folder, spec(seed=1))
    write_plan(folder, [new, spec(seed=1)])
    study = read_study(folder)
    assert [run.seed for run in study.runs] == [1]
    assert [one.run_id for one in study.unfinished] == [new.run_id]
    assert "other configuration" in problem(study, old.run_id)


def test_without_a_plan_the_newest_counts(folder):
    old, new = spec(), spec(batch_size=64)
    write_run(folder, old, provenance={"date": "2026-01-01"})
    write_run(folder, new, provenance={"date": "2026-02-01"})
    study = read_study(folder)
    assert [run.run_id for run in study.runs] == [new.run_id]
    assert study.planned is None
    assert f"newer is {new.run_id}" in problem(study, old.run_id)


def test_what_is_missing_says_how_far_it_came(folder):
    done, begun, waiting, absent = (spec(seed=seed) for seed in range(4))
    skipped = spec("SG", "features-imagenet", 0)
    write_run(folder, done)
    begin_run(folder, begun, epochs=3, log="epoch 3\nKilled by signal 9\n\n")
    (begin_run(folder, waiting, epochs=0) / "log").unlink()
    write_plan(folder, [done, begun, waiting, absent], [skipped])
    study = read_study(folder)
    states = {one.run_id: one.state for one in study.unfinished}
    assert states[begun.run_id] == "not finished, 3 epochs so far"
    assert states[waiting.run_id] == states[absent.run_id] == "not started"
    assert {one.run_id: one.log for one in study.unfinished}[begun.run_id] == "Killed by signal 9"
    assert [one.state for one in study.skipped] == ["skipped: no ImageNet weights: run astrossl weights fetch"]
    assert study.planned == 4


def test_a_skipped_run_that_was_done_later_counts_as_done(folder):
    run = spec("SG", "features-imagenet")
    write_run(folder, run)
    write_plan(folder, [], [run])
    study = read_study(folder)
    assert len(study.runs) == 1
    assert study.skipped == ()


def test_a_damaged_plan_is_named(folder):
    write_run(folder, spec())
    (folder / "experiment.json").write_text('{"planned": 3}')
    study = read_study(folder)
    assert study.planned is None
    assert "planned holds int, expected a list" in problem(study, "experiment.json")


def test_a_folder_that_is_no_run_is_named_and_hidden_ones_are_not(folder):
    write_run(folder, spec())
    (folder / "notes").mkdir()
    (folder / ".tasks").mkdir()
    study = read_study(folder)
    assert "not a run folder" in problem(study, "notes")
    assert len(study.problems) == 1


def test_nan_loss_means_failed(folder):
    write_run(folder, spec(), metrics={"validation": {"loss": float("nan"), "accuracy": 0.5}})
    assert read_study(folder).runs[0].failed


def test_no_run_at_all_is_an_input_error(folder):
    write_plan(folder, [spec()])
    with pytest.raises(InputError, match=r"no run there is done or begun \(1 are planned\)"):
        read_study(folder)


def test_only_corrupt_runs_is_an_input_error_that_names_them(folder):
    (folder / "broken").mkdir()
    (folder / "broken" / "result.json").write_text("{")
    with pytest.raises(InputError, match=r"broken: result\.json cannot be read"):
        read_study(folder)


def test_an_experiment_is_a_name_or_a_path(folder, tmp_path):
    assert find_experiment("study", tmp_path) == folder
    assert find_experiment(str(folder), tmp_path / "elsewhere") == folder
    with pytest.raises(InputError, match=r"no experiment 'studie'.*experiments there: study"):
        find_experiment("studie", tmp_path)


def test_the_writer_of_these_tests_follows_the_contract():
    assert {"objects", "metrics", "majority_share", "engine", "store", "weights", "provenance"} <= set(result(spec()))


def test_a_run_begun_before_the_recipe_changed_is_named_and_not_waited_for(folder):
    done, stale, planned = spec(seed=0), spec(seed=1), spec(seed=1, batch_size=64)
    write_run(folder, done)
    begin_run(folder, stale)
    write_plan(folder, [done, planned])
    study = read_study(folder)
    assert [one.run_id for one in study.unfinished] == [planned.run_id]
    words = f"begun with another configuration; experiment.json plans {planned.run_id} instead; left out"
    assert problem(study, stale.run_id) == words
