"""Write a report: read the study, make its sections, and write tables, figures and the page that shows them."""

from pathlib import Path

from hpc_astrossl import __version__, locks
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import write_aside
from hpc_astrossl.provenance import now
from hpc_astrossl.report import summary
from hpc_astrossl.report.base import published
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.base.drawing import SUFFIXES as FIGURES
from hpc_astrossl.report.base.pages import render, script_json
from hpc_astrossl.report.base.runs import read_study
from hpc_astrossl.report.base.table_files import FORMATS, remove_stale, write
from hpc_astrossl.report.low_data import efficiency
from hpc_astrossl.report.sections import SECTIONS

PAGE, MARK = "report.html", b'class="kind">astrossl report<'  # what every report says of itself


def write_report(experiment: Path, out: Path, projection: str = "tsne") -> Path:
    """Write the report of an experiment's folder below ``out``; return the path of ``report.html``.

    Every file appears whole, the page last; another process that writes there is waited for. InputError when no run is
    done or begun, or when ``out`` cannot be written.
    """
    study = read_study(experiment)
    if (page := out / PAGE).exists() and not _is_ours(page):
        raise InputError(f"{page}: is there already, and is no report; remove it first, or choose another --out")
    try:
        for folder in ("tables", "figures"):
            (out / folder).mkdir(parents=True, exist_ok=True)
        with locks.locked(out / ".lock"):
            return _write(Desk.of(study, out, projection))
    except OSError as error:
        raise InputError(f"{out}: the report cannot be written there ({error})") from None


def _is_ours(page: Path) -> bool:
    try:
        return MARK in page.read_bytes()
    except OSError:
        return False


def _write(desk: Desk) -> Path:
    sections = [section for make in SECTIONS if (section := make(desk))]
    tables = [table for section in sections for table in (*section.tables, *section.folded)]
    for table in tables:
        write(table, desk.out / "tables")
    page = desk.out / PAGE
    before = page.read_text() if page.exists() else ""
    text = _render(desk, sections)
    remove_stale(desk.out, "tables", FORMATS, before=before, now=text)
    remove_stale(desk.out, "figures", FIGURES, before=before, now=text)
    write_aside(page, text.encode())
    return page


def _render(desk: Desk, sections: list[Section]) -> str:
    return render(
        __package__,
        "page.html",
        study=desk.study,
        sections=sections,
        curves=script_json([curve for section in sections for curve in section.curves]),
        summary=summary.sentences(desk, efficiency.equals(desk)),
        hours=sum(run.seconds for run in desk.study.runs) / 3600,
        seeds=sorted({run.seed for run in desk.study.runs}),
        citations=published.CITATIONS if any(section.anchor == "published" for section in sections) else (),
        version=__version__,
        date=now(),
    )
