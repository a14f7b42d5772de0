"""``explore.html``: one page that needs no server and loads nothing but the thumbnails beside it."""

import base64
import hashlib
import importlib.resources
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from markupsafe import Markup

from hpc_astrossl.explore.thumbnails import Atlases
from hpc_astrossl.report.base.pages import render, script_json, stylesheet

SCRIPTS = ("data", "csv", "colours", "plot", "labels", "sheet", "search", "main")  # in the order of their needs


@dataclass(frozen=True, kw_only=True)
class Shown:
    """What the page holds of the M objects that are drawn, of ``of`` in all.

    ``points`` (M × 2) in 0 to 1; ``near`` (M × k) rows of neighbours; ``outliers`` and ``upnext`` are rows,
    ranked; ``sample`` are rows drawn at random of all objects;
    ``columns`` hold numbers or text an object; ``sky`` is (ra, dec) in degrees, where known. ``key`` names the labels
    that a browser keeps: those of one embedding.
    """

    key: str
    title: str
    ids: Sequence[str]
    of: int
    points: np.ndarray
    near: np.ndarray
    outliers: np.ndarray
    upnext: np.ndarray
    sample: np.ndarray
    columns: Mapping[str, np.ndarray]
    classes: Sequence[str]
    sky: tuple[np.ndarray, np.ndarray] | None
    pictures: Atlases | None
    notes: Sequence[str] = field(default_factory=tuple)


def text(shown: Shown) -> str:
    """The page."""
    count = f"{len(shown.ids):,}" if len(shown.ids) == shown.of else f"{len(shown.ids):,} of {shown.of:,}"
    script = "\n".join(_part(f"{name}.js") for name in SCRIPTS)
    style = f"{stylesheet()}{_part('page.css')}"
    return render(
        __package__,
        "page/page.html",
        title=shown.title,
        meta=f"{count} objects",
        notes=shown.notes,
        data=script_json(_payload(shown)),
        script=Markup('"use strict";\n' + script),
        script_hash=_digest('"use strict";\n' + script),
        style=Markup(style),
        style_hash=_digest(style),
    )


def _part(name: str) -> str:
    return importlib.resources.files(__package__).joinpath("page", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """As a Content-Security-Policy names an inline script or style: nothing else is run."""
    return Markup("sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode())


def _payload(shown: Shown) -> dict[str, Any]:
    return {
        "key": shown.key,
        "ids": list(shown.ids),
        "objects": len(shown.ids),
        "of": shown.of,
        "x": _packed(shown.points[:, 0], "<f4"),
        "y": _packed(shown.points[:, 1], "<f4"),
        "near": _packed(shown.near.ravel(), "<u4"),
        "neighbours": shown.near.shape[1],
        "outliers": _packed(shown.outliers, "<u4"),
        "next": _packed(shown.upnext, "<u4"),
        "sample": _packed(shown.sample, "<u4"),
        "classes": list(shown.classes),
        "columns": [_column(name, values) for name, values in shown.columns.items()],
        "ra": _packed(shown.sky[0], "<f8") if shown.sky else None,
        "dec": _packed(shown.sky[1], "<f8") if shown.sky else None,
        "pictures": {"folder": shown.pictures.folder, "across": shown.pictures.across} if shown.pictures else None,
    }


def _packed(values: np.ndarray, kind: str) -> str:
    return base64.b64encode(np.ascontiguousarray(values, dtype=kind).tobytes()).decode()


def _column(name: str, values: np.ndarray) -> dict[str, Any]:
    """Numbers as float32, but not whole ones that it would round; text as places in a list of names, −1 for none."""
    if values.dtype.kind != "U":
        whole = values[np.isfinite(values)].astype(np.float64)
        whole = whole[whole == np.rint(whole)]
        if np.array_equal(whole.astype(np.float32), whole):
            return {"name": name, "values": _packed(values, "<f4")}
        return {"name": name, "wide": True, "values": _packed(values, "<f8")}
    names, place = np.unique(values, return_inverse=True)
    if len(names) and names[0] == "":
        names, place = names[1:], place - 1
    return {"name": name, "names": names.tolist(), "values": _packed(place, "<i4")}
