"""The tables' numbers against hand-computed ones, and what stands where there is no number."""

import csv
import io
import re
from types import SimpleNamespace

import pytest
from run_folders import begin_run, spec, write_plan, write_run

from hpc_astrossl.report import summary
from hpc_astrossl.report.accuracy import tables as accuracy
from hpc_astrossl.report.accuracy import words
from hpc_astrossl.report.base import judged, statistics
from hpc_astrossl.report.base.cells import Spread
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.latex import to_latex
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.base.tables import Table, number, text, to_csv, to_markdown
from hpc_astrossl.report.study import inventory, run_lists

PAPERS = {"name": "SG", "path": "stores/SG.zarr", "survey": "S-PLUS", "release": "DR1", "counts": {"kept": 50090}}


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "study"
    path.mkdir()
    return path


def row(table: Table, *heads: str) -> dict[str, object]:
    """The row whose first entries have these values (or texts), by column."""
    for entries in table.rows:
        found = [str(entry.value if entry.value is not None else entry.text) for entry in entries[: len(heads)]]
        if found == list(heads):
            return dict(zip(table.columns, entries, strict=True))
    raise AssertionError(f"no row {heads} in {table.name}")


def write_three(folder, scheme="scratch", values=(0.90, 0.92, 0.97), **more):
    for seed, value in enumerate(values):
        write_run(folder, spec("SG", scheme, seed), accuracy=value, test=value - 0.1, **more)


def desk(folder):
    return Desk.of(read_study(folder), folder)


def table_two(folder):
    return accuracy.table_two(desk(folder))


def test_spread_by_hand():
    spread = Spread.of([0.90, 0.92, 0.97])
    # mean 0.93; squared deviations 0.0009 + 0.0001 + 0.0016 = 0.0026, over n - 1 = 2: 0.0013
    assert spread.mean == pytest.approx(0.93)
    assert spread.std == pytest.approx(0.0013**0.5)
    assert Spread.of([0.5]).std is None
    assert Spread.of([]) is None


def test_table_two_by_hand(folder):
    write_three(folder)
    write_three(folder, "finetune-magnitudes", (0.95, 0.95, 0.95))
    table = table_two(folder)
    validation = row(table, "SG", "validation accuracy")
    assert validation["scratch"].text == "0.9300 ± 0.0361"
    assert validation["scratch"].note == "n = 3"
    assert validation["majority"].text == "0.5600"
    assert row(table, "SG", "test accuracy")["scratch"].text == "0.8300 ± 0.0361"
    assert row(table, "SG", "test balanced accuracy")["scratch"].text == "0.8100 ± 0.0361"
    assert row(table, "SG", "test macro F1")["scratch"].text == "0.8000 ± 0.0361"


def test_the_paper_stands_beside_ours_with_a_computed_difference(folder):
    write_three(folder, store=PAPERS)
    table = table_two(folder)
    paper = row(table, "SG", "paper, validation")
    assert paper["scratch"].text == "0.9897 ± 0.0035"
    assert paper["majority"].text == "0.5586"
    # 0.9300 - 0.9897 = -0.0597; our std sqrt(0.0013) over sqrt(3), the paper's .0035 over sqrt(3), and the binomial
    # error of 5009 objects, sqrt(.9897 * .0103 / 5009): together sqrt(.0013 / 3 + .0035² / 3 + 2.035e-6) = 0.0210
    found = row(table, "SG", "ours − paper, validation")["scratch"]
    assert (found.text, found.note) == ("−0.0597", "± 0.0210, 2.8 σ")


LESSON = {"name": "pretext", "path": "stores/pretext.zarr", "survey": "S-PLUS", "counts": {"kept": 205321}}


@pytest.mark.parametrize(
    ("target", "lesson", "theirs", "in_cells"),
    [("magnitudes", LESSON, "0.9799 ± 0.0010", "0.9799"), ("measured", LESSON, "–", "–"),
     ("magnitudes", LESSON | {"counts": {"kept": 205320}}, "–", "–"),
     ("magnitudes", LESSON | {"survey": "SDSS"}, "–", "–"), ("magnitudes", None, "–", "–")],
)  # fmt: skip
def test_weights_learnt_from_something_else_are_not_held_against_the_papers(folder, target, lesson, theirs, in_cells):
    """From other objects, too; and where no pretext run is there, nobody knows from what."""
    if lesson is not None:
        write_run(folder, spec("pretext", "pretext", target=target), arrays=True, store=lesson)
    write_three(folder, store=PAPERS)
    write_three(folder, "features-magnitudes", store=PAPERS)
    paper, ours = (row(table_two(folder), "SG", name) for name in ("paper, validation", "ours − paper, validation"))
    assert paper["features-magnitudes"].text == theirs
    assert (ours["features-magnitudes"].text == "–") == (theirs == "–")
    assert paper["scratch"].text == "0.9897 ± 0.0035"
    cells = csv.DictReader(io.StringIO(to_csv(accuracy.every_cell(desk(folder)))))
    found = {line["scheme"]: line["paper validation"] for line in cells}
    assert found == {"scratch": "0.9897", "features-magnitudes": in_cells}
    reason = "features-magnitudes, whose weights were not learnt from the magnitudes of 205,321 objects of S-PLUS"
    assert (reason in " ".join(words.other_sets(desk(folder)))) == (theirs == "–")


@pytest.mark.parametrize(("size", "splits", "compared"), [
    (100, {"train": 40072}, False), (40072, {"train": 40072}, True), (40072, {}, False), (None, {}, True),
])  # fmt: skip
def test_fewer_labels_than_the_paper_s_are_not_held_against_its_table_two(folder, size, splits, compared):
    store = PAPERS | {"counts": PAPERS["counts"] | {"splits": splits}}
    for seed in range(3):
        write_run(folder, spec("SG", "scratch", seed, size), store=store)
    found = desk(folder)
    texts = [to_csv(accuracy.table_two(found)), to_csv(accuracy.every_cell(found)), to_latex(accuracy.table_two(found)),
             " ".join(words.beside_the_paper(found, "SG"))]  # fmt: skip
    assert [bool(re.search("paper", one)) for one in texts] == [compared] * 4
    assert any("SG at " in one for one in words.other_sets(found)) != compared


OTHERS = [
    {"survey": "SDSS"},
    {"survey": "not S-PLUS"},
    {"release": "simulated"},
    {"counts": {"kept": 50089}},
    {"counts": {"kept": 50090, "classes": {"star": 25045, "galaxy": 25045}}},
    {"counts": {}},
]


@pytest.mark.parametrize("change", OTHERS)
def test_other_data_under_the_papers_name_are_compared_with_nothing(folder, change):
    write_three(folder, "features-imagenet", store=PAPERS | change)
    for size in (100, 1000):
        write_run(folder, spec("SG", "features-imagenet", 0, size), store=PAPERS)
    found = desk(folder)
    for table in (accuracy.table_two(found), accuracy.low_data(found), accuracy.every_cell(found)):
        for made in (to_csv(table), to_markdown(table), to_latex(table)):
            assert not any(word in made.lower() for word in ("paper", "σ", "sigma", "joint", "difference"))
    said = " ".join(summary.sentences(found, []))
    assert "agrees with" not in said
    assert "differs from" not in said
    assert "Not compared with the paper: SG here is" in said


def test_as_many_objects_in_other_classes_are_not_the_papers(folder):
    write_run(folder, spec(), store=PAPERS, class_names=["a", "b", "c"])
    assert not desk(folder).papers("SG")


def test_schemes_that_nobody_planned_take_no_column(folder):
    write_run(folder, spec("SG", "features-random"))
    write_run(folder, spec("SG", "scratch"))
    assert table_two(folder).columns == ("set", "measure", "majority", "scratch", "features-random")


def test_a_set_the_paper_does_not_have_gets_no_paper_rows(folder):
    write_run(folder, spec("own-set"))
    labels = [entries[1].text for entries in table_two(folder).rows]
    assert labels == ["validation accuracy", "test accuracy", "test balanced accuracy", "test macro F1"]


def test_equal_means_have_no_best(folder):
    write_run(folder, spec("SG", "scratch"), accuracy=0.9)
    write_run(folder, spec("SG", "finetune-magnitudes"), accuracy=0.9)
    assert {entry.mark for entry in row(table_two(folder), "SG", "validation accuracy").values()}.isdisjoint({"best"})


def test_a_single_seed_has_no_std(folder):
    write_run(folder, spec(), accuracy=0.9)
    entry = row(table_two(folder), "SG", "validation accuracy")["scratch"]
    assert (entry.text, entry.note) == ("0.9000", "n = 1")


def test_collapsed_runs_count_and_are_marked(folder):
    write_run(folder, spec(seed=0), accuracy=0.9)
    write_run(folder, spec(seed=1), accuracy=0.56, collapsed=True)
    entry = row(table_two(folder), "SG", "validation accuracy")["scratch"]
    assert entry.text.startswith("0.7300 ±")
    assert entry.note == "n = 2, 1 collapsed"
    assert entry.mark == "bad"


def test_failed_runs_do_not_count_and_are_said(folder):
    write_run(folder, spec(seed=0), accuracy=0.9)
    write_run(folder, spec(seed=1), metrics={"validation": {"loss": float("inf"), "accuracy": 0.1}})
    entry = row(table_two(folder), "SG", "validation accuracy")["scratch"]
    assert (entry.text, entry.note) == ("0.9000", "n = 1 of 2, 1 failed")


def test_cells_without_a_run_say_why(folder):
    scratch, frozen = spec("SG", "scratch"), spec("SG", "features-magnitudes")
    imagenet, tuned = spec("SG", "features-imagenet"), spec("SG", "finetune-magnitudes")
    write_run(folder, scratch)
    begin_run(folder, frozen)
    write_run(folder, spec("EF-4", "finetune-imagenet"))
    write_plan(folder, [scratch, frozen, tuned], [imagenet])
    validation = row(table_two(folder), "SG", "validation accuracy")
    assert validation["features-imagenet"].text == "skipped: no ImageNet weights"
    assert validation["features-magnitudes"].text == "not finished"
    assert validation["finetune-magnitudes"].text == "not started"
    assert validation["finetune-imagenet"].text == "not planned"


def test_table_two_shows_the_whole_training_split_and_low_data_every_size(folder):
    write_run(folder, spec("pretext", "pretext", target="magnitudes"), arrays=True, store=LESSON)
    for size, value in ((None, 0.9), (100, 0.7), (1000, 0.8)):
        for scheme in ("scratch", "features-magnitudes"):
            write_run(folder, spec("SG", scheme, 0, size), accuracy=value, store=PAPERS)
    found = desk(folder)
    assert row(accuracy.table_two(found), "SG", "validation accuracy")["scratch"].text == "0.9000"
    table = accuracy.low_data(found)
    sizes = [entries[1].value for entries in table.rows]
    assert list(dict.fromkeys(sizes)) == ["100", "~100", "1,000", "all"]
    assert row(table, "SG", "1,000", "validation")["scratch"].text == "0.8000"
    assert row(table, "SG", "~100")["features-magnitudes"].text == "0.9727"


def test_a_half_finished_study_shows_the_largest_size_that_has_a_run(folder):
    write_run(folder, spec("SG", "scratch", 0, 100), accuracy=0.7)
    write_plan(folder, [spec("SG", "scratch", 0, 100), spec("SG", "scratch", 0, 1000), spec("SG", "scratch", 0, None)])
    entry = row(table_two(folder), "SG", "validation accuracy")["scratch"]
    assert (entry.text, entry.note) == ("0.7000", "n = 1")
    assert words.best(desk(folder), "SG").startswith("SG: scratch is the only scheme with a finished run")


def test_table_three_gets_a_computed_difference(folder):
    for seed, value in enumerate((0.90, 0.92, 0.97)):
        write_run(folder, spec("SG", "features-imagenet", seed, 100), accuracy=value, store=PAPERS)
    write_run(folder, spec("SG", "features-imagenet", 0, None), store=PAPERS)
    write_run(folder, spec("SG", "scratch", 0, None), store=PAPERS)
    rows = [row for row in accuracy.low_data(desk(folder)).rows if row[1].value == "~100"]
    paper, ours = (
        dict(zip(("labels", "split", "majority", "scratch", "features-imagenet"), one[1:], strict=True)) for one in rows
    )
    assert paper["features-imagenet"].text == "0.8702"
    # 0.9300 - 0.8702; our std sqrt(.0013) over sqrt(3), and sqrt(.8702 * .1298 / 5009): together 0.0214
    assert (ours["features-imagenet"].text, ours["features-imagenet"].note) == ("+0.0598", "± 0.0214, 2.8 σ")
    assert ours["scratch"].text == "–"


def test_one_size_needs_no_low_data_table(folder):
    write_run(folder, spec())
    assert accuracy.low_data(desk(folder)) is None


def test_every_cell_has_full_precision_in_csv(folder):
    write_three(folder, store=PAPERS)
    found = list(csv.DictReader(io.StringIO(to_csv(accuracy.every_cell(desk(folder))))))
    assert float(found[0]["validation accuracy std"]) == pytest.approx(0.0013**0.5, abs=1e-15)
    assert float(found[0]["difference"]) == pytest.approx(0.93 - 0.9897)
    assert found[0]["labels"] == "all"


def test_markdown_escapes_what_users_make():
    table = Table(name="t", title="a|b", columns=("x",), rows=((text("<script>|\n"),), (number(-0.5, mark="best"),)))
    lines = to_markdown(table).splitlines()
    assert lines[0] == "## a\\|b"
    assert lines[4:] == ["| &lt;script&gt;\\| |", "| **−0.5000** |"]


def test_latex_escapes_what_users_make_and_marks_the_best():
    rows = ((text("a_b & {50%}\\"), number(-0.5, mark="best"), number(0.25, 2, mark="level")),)
    table = Table(name="my_table", title="T", columns=("x", "y", "z"), rows=rows, numeric=frozenset({1, 2}))
    lines = to_latex(table).splitlines()
    assert r"\begin{tabular}{lrr}" in lines
    assert r"\label{tab:my-table}" in lines
    assert r"a\_b \& \{50\%\}\textbackslash{} & \textbf{$-$0.5000} & \underline{0.25} \\" in lines


def test_hours_are_told_by_set_and_scheme(folder):
    write_run(folder, spec(seed=0), seconds=1800.0)
    write_run(folder, spec(seed=1), seconds=1800.0, device="NVIDIA H200", engine={"name": "horovod", "ranks": 2})
    entry = row(inventory.hours(read_study(folder)), "SG", "scratch")
    assert (entry["hours"].value, entry["GPU hours"].value, entry["runs"].text) == (1.0, 1.0, "2")


def test_collapsed_and_failed_runs_are_listed(folder):
    write_run(folder, spec(seed=0), accuracy=0.56, collapsed=True)
    write_run(folder, spec(seed=1), metrics={"validation": {"loss": float("nan")}})
    write_run(folder, spec(seed=2))
    table = run_lists.troubled(read_study(folder), folder)
    assert [entries[1].text.split(":")[0] for entries in table.rows] == ["collapsed", "failed"]


def test_the_store_tells_splits_classes_and_what_was_left_out_apart(folder):
    counts = {
        "kept": 1022,
        "rejected_rows": 0,
        "rejected": {"class not asked for": 69, "no image": 0},
        "splits": {"train": 614, "validation": 204, "test": 204},
        "classes": {"star": 731, "galaxy": 291},
    }
    write_run(folder, spec(), store={"name": "SG", "path": "s", "counts": counts})
    entry = row(inventory.stores(read_study(folder)), "SG")
    assert entry["kept"].text == "1,022"
    assert entry["left out, by reason"].text == "class not asked for: 69"
    assert entry["splits"].text == "train: 614; validation: 204; test: 204"
    assert entry["classes"].text == "star: 731; galaxy: 291"


def test_configuration_tells_the_phases_apart(folder):
    write_run(folder, spec("SG", "finetune-imagenet"))
    table, unread = inventory.configuration(read_study(folder))
    assert unread == []
    phases = row(table, "phases")["finetune-imagenet"].text
    assert phases == "head by adam at 0.001, ≤ 10 epochs; then all by sgd at 0.0001, ≤ 200 epochs"
    assert row(table, "data.scaling")["finetune-imagenet"].text == "caffe"


def test_a_missing_configuration_is_named(folder):
    (write_run(folder, spec()) / "config.yaml").unlink()
    _, unread = inventory.configuration(read_study(folder))
    assert "config.yaml: no such file" in unread[0].reason


def test_no_skill_is_called_so(folder):
    write_run(folder, spec(), accuracy=0.55, test=0.55, collapsed=True)
    said = " ".join(summary.sentences(desk(folder), []))
    assert "That is not clearly above always naming the commonest class (0.5500)." in said
    assert "1 run collapsed to one class: " in said
    assert "1,000 objects of survey “simulated” (another survey)" in said


def test_the_summary_counts_what_was_skipped(folder):
    write_run(folder, spec())
    write_plan(folder, [spec()], [spec("SG", "features-imagenet", seed) for seed in (0, 1)])
    said = summary.sentences(desk(folder), [])
    assert said[0] == "1 run of 1 planned is done, 2 skipped."
    assert "2 runs skipped: no ImageNet weights: run astrossl weights fetch (features-imagenet)." in said


def test_the_summary_counts_runs_beside_the_plan_apart(folder):
    for seed in (0, 1):
        write_run(folder, spec(seed=seed))
    write_plan(folder, [spec()])
    assert summary.scope(read_study(folder)) == "1 run of 1 planned is done, 1 more beside the plan."


def test_a_run_configured_otherwise_is_told(folder):
    for seed in (0, 1):
        write_run(folder, spec("SG", "scratch", seed))
    assert inventory.differences(read_study(folder)) is None
    write_run(folder, spec("SG", "scratch", 2, batch_size=64))
    rows = inventory.differences(read_study(folder)).rows
    assert [entry.text for entry in rows[0][1:3]] == ["batch_size: 64", "batch_size: 32"]
    assert len(rows) == 1


@pytest.mark.parametrize(
    ("means", "behind", "said"),
    [
        ((0.9, 0.8, 0.7), "bc", "Every other scheme is significantly below it, the next, b, by 0.1000."),
        ((0.9, 0.8), "b", "b is significantly below it, by 0.1000."),
        ((0.9, 0.8, 0.7), "", "No other scheme is significantly below it."),
        ((0.9, 0.8, 0.7, 0.6), "cd", "All others are significantly below it, except b."),
        ((0.9, 0.8, 0.7, 0.6), "d", "Of the others only d is significantly below it."),
        ((0.9, 0.9, 0.9), "", "b and c reach the same. No other scheme is significantly below it."),
        ((0.9, 0.9, 0.7), "c", "b reaches the same. Of the others only c is significantly below it."),
        ((0.9, 0.9), None, "It is level with b; without predictions of all schemes there is no test of it."),
        ((0.9, 0.8), None, "It is 0.1000 above b; without predictions of all schemes there is no test of it."),
    ],
)
@pytest.mark.parametrize("first", ["a", "b"])
def test_what_is_below_the_leading_scheme_is_said_once(monkeypatch, means, behind, said, first):
    """Of two schemes with the same mean the table's leader may be the other one: neither is said to be below itself."""
    names = tuple("abcd"[: len(means)])
    ranking = judged.Ranking(
        split="test", metric="accuracy", schemes=tuple(zip(names, map(spread_of, means), strict=True))
    )
    leader = first if means[0] == means[1] else "a"
    level = tuple(name for name in names if name not in {leader, *(behind or "")})
    made = statistics.Verdict(leader=leader, level_with=level, behind=tuple(behind or ""))
    monkeypatch.setattr(statistics, "verdict", lambda *_: made)
    monkeypatch.setattr(words.c, "main_size", lambda *_: None)
    asked = SimpleNamespace(classes={}, row=lambda *_: {} if behind is None else dict.fromkeys(names))
    assert words.lead(asked, "SG", ranking) == said


def spread_of(mean: float) -> Spread:
    return Spread.of([mean - 0.01, mean + 0.01])
