"""Tables as LaTeX: plain pdflatex takes each of a report, whatever characters are in it, and none leaves the page."""

import re
import shutil
import subprocess

import pytest
from run_folders import begin_run, spec, write_plan, write_run, write_study

from hpc_astrossl.report.base.latex import latex, to_latex
from hpc_astrossl.report.base.tables import Table, number, text
from hpc_astrossl.report.page import write_report

needs_latex = pytest.mark.skipif(not shutil.which("pdflatex"), reason="no pdflatex here; apt-get install texlive")
ODD = "√ σ − – — ± ≤ μ Å é ü ł ø ß č ½ × · ² ⊙ “x” ‘y’ 30″ 星 🔭 ﬁ №"


def compiled(folder, tables, packages=""):
    """pdflatex's log of a document with these tables, which must be made without an error."""
    inputs = "\n".join(rf"\input{{{path}}}\clearpage" for path in tables)
    document = rf"\documentclass{{article}}{packages}\begin{{document}}{inputs}\end{{document}}"
    (folder / "all.tex").write_text(document)
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, errors="replace")
    assert done.returncode == 0, done.stdout[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def tables(tmp_path_factory):
    """Those of a report with every kind of table, and one of odd characters, long words and many rows."""
    work = tmp_path_factory.mktemp("latex")
    write_study(work / "study", sets=("SG", "EF-4"), seeds=(0, 1), sizes=(100, None))
    begun = spec("SG", "features-random")
    begin_run(work / "study", begun, log=f"failed: {ODD} /a/very/long/path/{'x' * 40}/to_nowhere\n")
    for seed in range(60):
        write_run(work / "study", spec("own", "scratch", seed))
    write_plan(work / "study", [begun])
    write_report(work / "study", work / "out")
    rows = tuple(
        (text(f"{'[*'[place % 2]}{place} {ODD}"), number(place / 7), text("word " * 40)) for place in range(90)
    )
    many = Table(name="odd", title=ODD, columns=("what", "n", ODD), rows=rows, caption=ODD, numeric=frozenset({1}))
    (work / "out/tables/odd.tex").write_text(to_latex(many))
    return sorted((work / "out/tables").glob("*.tex"))


@needs_latex
@pytest.mark.parametrize("packages", ["", r"\usepackage{booktabs}\usepackage{graphicx}"])
def test_plain_pdflatex_takes_every_table_and_none_is_wider_than_the_page(tables, tmp_path, packages):
    assert {"accuracy", "cells", "runs", "missing", "odd", "pretext_pretext_nall"} <= {path.stem for path in tables}
    if packages and subprocess.run(["kpsewhich", "booktabs.sty"], capture_output=True).returncode:
        pytest.skip("no booktabs here; apt-get install texlive-latex-recommended")
    log = compiled(tmp_path, tables, packages)
    wide = [float(points) for points in re.findall(r"Overfull \\hbox \(([\d.]+)pt too wide\) in paragraph", log)]
    assert max(wide, default=0) < 3, log
    assert "Missing character" not in log


def test_every_character_is_ascii_and_none_is_lost():
    made = latex(ODD)
    assert made.isascii()
    assert r"$\sqrt{\ }$ $\sigma$ $-$ -- --- $\pm$ $\leq$ $\mu$" in made
    assert r"\'{e} \"{u} \l{}" in made
    assert "{[}U+661F{]} {[}U+1F52D{]} fi No" in made


def test_long_tables_go_on_with_the_number_of_rows_kept():
    rows = tuple((text(place),) for place in range(90))
    made = to_latex(Table(name="t", title="T", columns=("x",), rows=rows))
    assert made.count(r"\begin{table}") == 3
    assert made.count(r"\label{") == 1
    assert [int(one) for one in re.findall(r"^(\d+) \\\\$", made, flags=re.MULTILINE)] == list(range(90))
