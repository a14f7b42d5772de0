"""The page in a real browser: nothing fails, figures show, tables sort, curves come on demand, nothing overflows."""

import pytest
from browser import CHROMIUM, browser
from run_folders import write_study

from hpc_astrossl.report.page import write_report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; apt-get install chromium")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    work = tmp_path_factory.mktemp("work")
    folder = work / "runs" / "study"
    write_study(folder, sets=("SG",), seeds=(0, 1), schemes=("scratch", "features-imagenet", "features-magnitudes"))
    return write_report(folder, work / "report")


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    with browser(tmp_path_factory.mktemp("profile")) as page:
        yield page


SIZES = [(width, dark) for width in (390, 768, 1300) for dark in (False, True)]


@pytest.fixture(params=SIZES, ids=[f"{width} {'dark' if dark else 'light'}" for width, dark in SIZES])
def page(request, chromium, report):
    chromium.faults.clear()
    chromium.requests.clear()
    chromium.open(report, *request.param)
    return chromium


def test_it_loads_without_errors_and_asks_for_nothing_else(page, report):
    assert page.faults == []
    assert {url for url in page.requests if not url.startswith("data:")} == {report.resolve().as_uri()}


def test_images_and_figures_show(page):
    lazy = "document.querySelectorAll('img').forEach(i => i.loading = 'eager');"
    decoded = "Promise.all([...document.images].map(i => i.decode().then(() => i.naturalWidth)))"
    widths = page.evaluate(f"{lazy} {decoded}")
    assert widths
    assert min(widths) > 0
    boxes = page.evaluate(
        "[...document.querySelectorAll('.drawing svg')].map(s => [s.getBoundingClientRect().width,"
        " s.getBoundingClientRect().height, s.querySelectorAll('path').length])"
    )
    assert boxes
    assert all(width > 200 and height > 100 and paths > 3 for width, height, paths in boxes)


def test_the_page_is_no_wider_than_its_window(page):
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


def test_every_table_shows_its_first_number_or_says_that_there_is_more(page):
    """Tables that are folded are opened first, as a reader would."""
    page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true; })")
    page.evaluate("dispatchEvent(new Event('resize'))")
    found = page.evaluate(
        """[...document.querySelectorAll('.scroll')].map(box => { const edge = box.getBoundingClientRect().right + 1;
        const first = box.querySelector('tbody td.num'), words = box.previousElementSibling;
        return [box.closest('figure').id, !first || first.getBoundingClientRect().right <= edge,
          box.scrollWidth > box.clientWidth + 1, !words.hidden && words.textContent.length > 10,
          words.id === box.getAttribute('aria-describedby')]; })"""
    )
    assert len(found) > 8
    for name, number, more, said, described in found:
        assert number or said, name
        assert more == said, name
        assert described, name


def test_tables_sorters_and_selectors_are_reached_by_the_keyboard_and_named(page):
    page.evaluate("document.documentElement.style.scrollBehavior = 'auto'")
    unreached = page.evaluate(
        """[...document.querySelectorAll('.scroll, .wide .drawing-box, thead button, select, summary')]
        .filter(e => e.checkVisibility())
        .filter(e => { e.focus(); return document.activeElement !== e ||
          !(e.getAttribute('aria-label') || e.textContent.trim() || e.labels?.[0]?.textContent); })
        .map(e => e.outerHTML.slice(0, 200))"""
    )
    assert unreached == []
    assert page.evaluate("document.querySelectorAll('.scroll, thead button, select, summary').length") > 20


def test_every_link_leads_somewhere(page):
    dangling = "[...document.querySelectorAll('a[href^=\"#\"]')].filter(a => !document.getElementById(a.hash.slice(1)))"
    assert page.evaluate(f"{dangling}.length") == 0
    assert page.evaluate("document.querySelectorAll('nav a').length") >= 9


def cells(page, name, column):
    rows = f"[...document.querySelector('#{name} tbody').rows]"
    return page.evaluate(f"{rows}.map(r => r.cells[{column}].dataset.v ?? r.cells[{column}].textContent.trim())")


def click(page, name, column):
    page.evaluate(f"document.querySelectorAll('#{name} thead th')[{column}].querySelector('button').click()")


def test_tables_sort_by_number_and_by_text(page):
    click(page, "table-calibration", 2)
    errors = [float(value) for value in cells(page, "table-calibration", 2)]
    assert errors == sorted(errors)
    assert len(set(errors)) > 1
    click(page, "table-calibration", 2)
    assert [float(value) for value in cells(page, "table-calibration", 2)] == errors[::-1]
    click(page, "table-runs", 0)
    names = cells(page, "table-runs", 0)
    assert names == sorted(names)
    state = "document.querySelectorAll('#table-runs th[aria-sort]')"
    assert page.evaluate(f"[...{state}].map(t => t.getAttribute('aria-sort'))") == ["ascending"]


def test_the_curve_of_any_run_comes_on_demand(page):
    assert page.evaluate("document.querySelectorAll('#of-run svg').length") == 0
    assert page.evaluate("document.querySelectorAll('#which-run option').length") == 1 + 13
    choose = "c = document.getElementById('which-run'); c.value = '{}'; c.dispatchEvent(new Event('change'));"
    page.evaluate(choose.format(3))
    drawn = page.evaluate("[...document.querySelectorAll('#of-run path')].map(p => p.getAttribute('d'))")
    assert [path.count("L") for path in drawn] == [11, 11]  # twelve epochs, training and validation
    assert not any("NaN" in path for path in drawn)
    page.evaluate(choose.format(""))
    assert page.evaluate("document.querySelectorAll('#of-run svg').length") == 0


def test_words_can_be_read_against_the_page(page):
    """WCAG's contrast of 4.5 to 1, of text and of what is quiet, marked or linked."""
    ratio = """(() => {
      const light = c => { const v = c.match(/[\\d.]+/g).slice(0, 3).map(x => x / 255)
        .map(x => x <= 0.04045 ? x / 12.92 : ((x + 0.055) / 1.055) ** 2.4);
        return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2]; };
      const page = light(getComputedStyle(document.body).backgroundColor);
      const of = e => { const l = light(getComputedStyle(e).color);
        return (Math.max(l, page) + 0.05) / (Math.min(l, page) + 0.05); };
      return ["body", ".meta", "nav a", ".caption", "td small"].map(s => of(document.querySelector(s)));
    })()"""
    assert min(page.evaluate(ratio)) >= 4.5
