"""Of ``make docs``: the decisions are listed; files outside ``docs/`` that pages link to come along in ``files/``."""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File

DECISIONS = "decisions/README.md"
LINK = re.compile(r"(\]\()((?:\.\./)+[^)#\s]+)((?:#[^)\s]*)?\))")


def on_files(files, config):
    """Add what is linked to."""
    root = Path(config["config_file_path"]).parent
    pages = [file for file in files if file.src_uri.endswith(".md")]
    for outside in sorted({name for page in pages for name in _outside(page)}):
        if (root / outside).is_file():
            files.append(File.generated(config, f"files/{outside}", abs_src_path=str(root / outside)))
    return files


def on_page_markdown(markdown, page, config, files):
    """Links to them lead there; the page of the decisions lists them all."""

    def inside(found: re.Match) -> str:
        name = _name(page.file.src_uri, found[2])
        if name is None:
            return found[0]
        here = posixpath.dirname(page.file.src_uri) or "."
        return f"{found[1]}{posixpath.relpath(f'files/{name}', here)}{found[3]}"

    if page.file.src_uri == DECISIONS:
        markdown += "\n\n" + "\n".join(_decisions(files))
    return LINK.sub(inside, markdown)


def _decisions(files) -> list[str]:
    """A line a decision, by its heading."""
    folder = posixpath.dirname(DECISIONS)
    pages = [one for one in files if one.src_uri.startswith(f"{folder}/") and one.src_uri.endswith(".md")]
    titles = {one.src_uri: Path(one.abs_src_path).read_text(encoding="utf-8").partition("\n")[0] for one in pages}
    return [
        f"- [{title.lstrip('# ')}]({posixpath.basename(name)})"
        for name, title in sorted(titles.items(), key=lambda one: one[1])
        if name != DECISIONS
    ]


def _outside(page: File) -> list[str]:
    text = Path(page.abs_src_path).read_text(encoding="utf-8")
    return [name for found in LINK.finditer(text) if (name := _name(page.src_uri, found[2]))]


def _name(page: str, link: str) -> str | None:
    """The path below the project of what a page links to; None for what lies in docs/."""
    path = posixpath.normpath(posixpath.join("docs", posixpath.dirname(page), link))
    return None if path.startswith(("docs/", "..")) else path
