"""The page as a whole: complete, self-contained, escaped, and honest about what is missing."""

import csv
import json
import re
import shutil
import urllib.parse
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from run_folders import begin_run, spec, write_plan, write_run, write_study

from hpc_astrossl.cli import main
from hpc_astrossl.report.page import write_report

EVIL = '<script>alert("x")</script>'
VOID = {"meta", "link", "img", "br", "input", "hr"}


class Page(HTMLParser):
    """Checks that elements nest, and collects text, ids, links and whatever would be loaded."""

    def __init__(self, text: str):
        super().__init__()
        self.open, self.ids, self.links, self.loads, self.text, self.tags = [], [], [], [], [], []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)
        if tag not in VOID:
            self.open.append(tag)
        for key, value in attributes:
            if key == "id":
                self.ids.append(value)
            elif tag == "a" and key == "href":
                self.links.append(value)
            elif key in ("src", "href", "xlink:href", "srcset", "data", "action", "poster"):
                self.loads.append(value)

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in VOID:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] not in ("script", "style"):
            self.text.append(data)

    @property
    def words(self) -> str:
        """The text of the page, white space as one blank."""
        return " ".join(" ".join(self.text).split())


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """The page of a small whole study, with a class name that would like to be a program."""
    work = tmp_path_factory.mktemp("work")
    folder = work / "runs" / "study"
    write_study(folder, sets=("SG",), seeds=(0, 1), schemes=("scratch", "features-imagenet", "features-magnitudes"))
    for path in folder.glob("SG_*/result.json"):
        data = json.loads(path.read_text()) | {"class_names": [EVIL, "galaxy $x_"]}
        data["store"]["name"] = f"{EVIL}&store"
        path.write_text(json.dumps(data))
    return write_report(folder, work / "reports" / "study")


@pytest.fixture(scope="module")
def page(report) -> Page:
    return Page(report.read_text())


def test_every_section_is_there(page):
    sections = (
        "accuracy",
        "low-data",
        "errors",
        "controls",
        "pretext",
        "features",
        "objects",
        "curves",
        "configuration",
        "runs",
        "published",
    )
    assert set(sections) <= set(page.ids)
    assert "problems" not in page.ids
    assert "13 runs of 13 planned are done." in page.words


def test_nothing_is_loaded_from_elsewhere(report, page):
    assert page.loads
    assert all(one.startswith(("data:image/png;base64,", "#")) for one in page.loads)
    text = report.read_text()
    assert not re.search(r"url\((?!#)|@import|<link|<iframe", text)
    assert "default-src 'none'" in text


def test_every_link_leads_somewhere(report, page):
    for link in page.links:
        if link.startswith("#"):
            assert link[1:] in page.ids
        elif not link.startswith("https://"):
            assert (report.parent / urllib.parse.unquote(link)).exists(), link


def test_every_figure_and_table_has_its_files(report, page):
    figures = [one.removeprefix("figure-") for one in page.ids if one.startswith("figure-")]
    tables = [one.removeprefix("table-") for one in page.ids if one.startswith("table-")]
    assert {
        "low_data_SG_test",
        "pretext_pretext_predicted",
        "pretext_pretext_residual_uncertainty",
        "confusion_SG",
        "projection_SG_features-imagenet",
        "cutouts_SG",
    } <= set(figures)
    assert {"accuracy", "cells", "low_data", "pretext_pretext_nall", "runs", "stores", "mistakes_SG"} <= set(tables)
    for name in figures:
        assert (report.parent / "figures" / f"{name}.png").read_bytes().startswith(b"\x89PNG")
        assert (report.parent / "figures" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
    for name in tables:
        assert (report.parent / "tables" / f"{name}.csv").stat().st_size > 0
        assert r"\begin{tabular}" in (report.parent / "tables" / f"{name}.tex").read_text()
        assert (report.parent / "tables" / f"{name}.md").read_text().startswith("## ")


def test_what_users_made_is_escaped(report, page):
    assert page.tags.count("script") == 2  # the program, and the curves as data
    assert EVIL not in report.read_text()
    assert EVIL in page.words  # to be read, not run
    assert f"{EVIL}&store" in page.words


def test_ids_are_unique_among_tables_and_figures(page):
    own = [one for one in page.ids if one.startswith(("table-", "figure-"))]
    assert len(own) == len(set(own))


def test_figures_follow_the_colours_of_the_page(report):
    svgs = re.findall(r"<svg.*?</svg>", report.read_text(), flags=re.DOTALL)
    assert svgs
    assert all("var(--ink)" in svg for svg in svgs)
    assert not any("#1c2228" in svg for svg in svgs)


def test_a_half_finished_study_shows_what_is_missing(tmp_path):
    folder = tmp_path / "study"
    done, begun = spec("SG", "scratch", 0), spec("SG", "scratch", 1)
    write_run(folder, done)
    begin_run(folder, begun, log="Traceback\nOSError: disk full <now>\n")
    (folder / "SG_scratch_nall_s9-00000000").mkdir()
    (folder / "SG_scratch_nall_s9-00000000" / "result.json").write_text("{")
    write_plan(folder, [done, begun], [spec("SG", "features-imagenet")])
    words = Page(write_report(folder, tmp_path / "out").read_text()).words
    assert "1 run of 2 planned is done, 1 not finished, 1 skipped." in words
    assert "not finished, 3 epochs so far" in words
    assert "OSError: disk full <now>" in words
    assert "skipped: no ImageNet weights" in words
    assert "result.json cannot be read" in words


def test_a_study_without_a_finished_run_still_has_a_page(tmp_path):
    begin_run(tmp_path / "study", spec("SG", "scratch"))
    page = Page(write_report(tmp_path / "study", tmp_path / "out").read_text())
    assert "SG: no scheme has a finished run yet." in page.words


@pytest.mark.parametrize(("set_", "cited"), [("SG", True), ("mine", False)])
def test_others_are_cited_where_their_numbers_stand(tmp_path, set_, cited):
    write_run(tmp_path / "study", spec(set_, "scratch", 0))
    words = Page(write_report(tmp_path / "study", tmp_path / "out").read_text()).words
    assert ("Martinazzo" in words) == ("Published numbers are constants" in words) == cited


def test_a_pretext_run_alone_makes_a_report(tmp_path):
    write_run(tmp_path / "study", spec("pretext", "pretext"), arrays=True)
    page = Page(write_report(tmp_path / "study", tmp_path / "out").read_text())
    assert "0.150 mag on test objects (0.0050 of magnitudes/30)." in page.words
    assert "times the paper's" not in page.words  # simulated objects
    assert "accuracy" not in page.ids


def test_a_pretext_run_on_measured_properties_is_told_in_their_units(tmp_path):
    write_run(tmp_path / "study", spec("pretext", "pretext", target="measured"), arrays=True)
    write_run(tmp_path / "study", spec("EF-4", "features-magnitudes"))
    out = tmp_path / "out"
    page = Page(write_report(tmp_path / "study", out).read_text())
    assert "Predicting measured properties from images" in page.words
    assert "predicted with a mean absolute error of 0.0500 of their ranges on test objects" in page.words
    assert "The schemes *-magnitudes begin here with weights learnt from measured properties" in page.words
    table = list(csv.DictReader((out / "tables/pretext_pretext_nall.csv").read_text().splitlines()))
    (path,) = (tmp_path / "study").glob("pretext_*/predictions.npz")
    with np.load(path) as found:
        test = found["split"] == "test"
        errors = np.abs(found["output"][test].astype(float) - found["truth"][test]).mean(axis=0)
    assert [(line["unit"], line["test"]) for line in table] == [
        ("", "0.0500"),
        ("dex", f"{errors[0]:.3f}"),
        ("half sides", f"{errors[1]:.3f}"),
    ]
    # log10 of the flux was drawn evenly from 2 to 6: naming the median is 1 dex off on average
    assert float(table[1]["guessing the median"]) == pytest.approx(1.0, abs=0.2)
    assert (out / "figures/pretext_pretext_predicted.pdf").exists()


def test_a_second_report_draws_only_what_has_changed(tmp_path):
    write_study(tmp_path / "study", sets=("SG",), seeds=(0,), sizes=(100, None))
    out = tmp_path / "out"
    first = write_report(tmp_path / "study", out).read_text()
    for file in (out / "figures").iterdir():
        file.write_bytes(b"left alone")
    (out / ".kept/confusion_SG.json").write_text("damaged")
    (out / "figures/reliability_SG.pdf").unlink()
    again = write_report(tmp_path / "study", out).read_text()
    drawn = {file.stem for file in (out / "figures").iterdir() if file.read_bytes() != b"left alone"}
    assert drawn == {"confusion_SG", "reliability_SG"}
    assert Page(first).tags == Page(again).tags
    write_run(tmp_path / "study", spec("SG", "scratch", 1, 100), arrays=True)
    write_report(tmp_path / "study", out)
    drawn = {file.stem for file in (out / "figures").iterdir() if file.read_bytes() != b"left alone"}
    assert drawn == {"confusion_SG", "reliability_SG", "low_data_SG_validation", "low_data_SG_test"}


def test_tables_and_figures_of_an_earlier_report_are_removed(tmp_path):
    done, later = spec("SG", "scratch", 0), spec("SG", "features-magnitudes", 0)
    out = tmp_path / "out"
    write_run(tmp_path / "study", done, arrays=True)
    gone = write_run(tmp_path / "study", spec("EF-4", "features-random", 0), arrays=True)
    write_plan(tmp_path / "study", [done, later])
    write_report(tmp_path / "study", out)
    assert (out / "tables/missing.md").exists()
    assert (out / "figures/projection_EF-4_features-random.pdf").exists()
    strangers = [out / f"tables/mine.{suffix}" for suffix in ("csv", "tex", "md")]
    strangers += [out / f"figures/mine.{suffix}" for suffix in ("png", "pdf")]
    for path in strangers:
        path.write_text("mine")
    shutil.rmtree(gone)
    write_run(tmp_path / "study", later, arrays=True)
    write_report(tmp_path / "study", out)
    assert not list((out / "tables").glob("missing.*"))
    assert not list((out / "figures").glob("*EF-4*"))
    assert [path.read_text() for path in strangers] == ["mine"] * 5
    assert (out / "figures/projection_SG_features-magnitudes.png").exists()


def test_every_set_and_frozen_scheme_is_projected(tmp_path):
    for set_ in ("SG", "EF-4"):
        for scheme in ("features-imagenet", "features-random"):
            write_run(tmp_path / "study", spec(set_, scheme), arrays=True)
    write_plan(tmp_path / "study", [spec("SG", "features-imagenet"), spec("SG", "features-magnitudes")])
    page = Page(write_report(tmp_path / "study", tmp_path / "out").read_text())
    made = {one for one in page.ids if one.startswith("figure-projection_")}
    assert made == {f"figure-projection_{set_}_features-{name}" for set_ in ("SG", "EF-4")
                    for name in ("imagenet", "random")}  # fmt: skip
    assert "features-magnitudes on SG is not shown: not started." in page.words


def test_missing_arrays_are_named_and_the_tables_stand(tmp_path):
    run = spec("SG", "features-magnitudes")
    write_run(tmp_path / "study", run)
    page = Page(write_report(tmp_path / "study", tmp_path / "out").read_text())
    assert "predictions.npz is missing" in page.words
    assert "0.9000" in page.words


def test_the_command_prints_the_path_last(tmp_path, capsys):
    write_run(tmp_path / "runs" / "study", spec("SG", "scratch"))
    assert main(["report", "study", "--workdir", str(tmp_path)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(tmp_path / "reports" / "study" / "report.html")


def test_the_command_refuses_an_experiment_without_runs(tmp_path, capsys):
    (tmp_path / "runs" / "study").mkdir(parents=True)
    assert main(["report", "study", "--workdir", str(tmp_path)]) == 2
    assert "no run there is done or begun" in capsys.readouterr().err
    assert not (tmp_path / "reports").exists()


def test_a_page_of_others_is_kept(tmp_path, capsys):
    write_run(tmp_path / "runs" / "study", spec("SG", "scratch"))
    page = tmp_path / "reports" / "study" / "report.html"
    page.parent.mkdir(parents=True)
    page.write_text("<h1>mine</h1>")
    assert main(["report", "study", "--workdir", str(tmp_path)]) == 2
    assert f"{page}: is there already, and is no report; remove it first" in capsys.readouterr().err
    assert page.read_text() == "<h1>mine</h1>"
