"""The documentation: every link leads somewhere, and every page is on the site."""

import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
DOCS = ROOT / "docs"
SKIPPED = {".git", "site", "build", "node_modules"}
PAGES = sorted(
    path for path in ROOT.rglob("*.md") if not any(part in SKIPPED or part.startswith(".venv") for part in path.parts)
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ +(.+?)\s*$", re.MULTILINE)


def prose(text: str) -> str:
    """A page without its code: fenced, indented and inline."""
    text = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    text = re.sub(r"^(?: {4}|\t).*$", "", text, flags=re.MULTILINE)
    return re.sub(r"`[^`\n]*`", "", text)


def anchors(path: Path) -> set[str]:
    """As renderers make them of headings: lower case, words joined by hyphens."""
    text = re.sub(r"^```.*?^```", "", path.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    plain = (re.sub(r"[^\w\- ]", "", heading.lower()).strip() for heading in HEADING.findall(text))
    named = re.findall(r"\bid=\"([^\"]+)\"", text)
    return {re.sub(r"[ ]", "-", heading) for heading in plain} | set(named)


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_link_leads_somewhere(page):
    text = prose(page.read_text(encoding="utf-8"))
    for link in LINK.findall(text):
        if re.match(r"[a-z]+:", link):
            continue
        name, _, anchor = link.partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), f"{link} leads nowhere"
        assert target.is_relative_to(ROOT), f"{link} leads out of the project"
        if anchor:
            assert anchor in anchors(target), f"{link}: no such heading; {sorted(anchors(target))}"


def test_a_dead_link_would_be_found():
    assert LINK.findall(prose("see [this](gone.md#x), not `[that](code.md)`")) == ["gone.md#x"]


def on_the_site(nav) -> set[str]:
    if isinstance(nav, str):
        return {nav}
    parts = nav.values() if isinstance(nav, dict) else nav
    return set().union(*(on_the_site(part) for part in parts))


def test_every_page_is_on_the_site():
    shown = on_the_site(yaml.safe_load((ROOT / "mkdocs.yml").read_text())["nav"])
    there = {str(path.relative_to(DOCS)) for path in DOCS.rglob("*.md")}
    assert shown == {
        name for name in there if not re.match("decisions/(?!README)", name)
    }  # those are listed by the hook
