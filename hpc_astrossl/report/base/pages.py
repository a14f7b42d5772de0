"""What pages share: how templates are filled, how they look, and how data stand in a script."""

import importlib.resources
import json
from typing import Any

import jinja2
from markupsafe import Markup


def render(package: str, template: str, **values: Any) -> str:
    """A template that lies in ``package``, filled; every value is escaped. ``css`` is the style that pages share."""
    source = importlib.resources.files(package).joinpath(template).read_text(encoding="utf-8")
    environment = jinja2.Environment(
        autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=jinja2.StrictUndefined
    )
    return environment.from_string(source).render(css=stylesheet(), **values)


def stylesheet() -> Markup:
    """The style of pages, ``page.css``."""
    return Markup(importlib.resources.files(__package__).joinpath("page.css").read_text(encoding="utf-8"))


def script_json(data: object) -> Markup:
    """JSON that may stand in a script element: no character in it can end the element."""
    return Markup(json.dumps(data, separators=(",", ":")).replace("<", "\\u003c"))
