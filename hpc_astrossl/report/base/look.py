"""How schemes and classes look in every figure, and the short form of a name."""

from hpc_astrossl.report.base.drawing import ACCENT, INK, PAPER, QUIET

# Told apart in grey: frozen features are dashed and hollow, fine-tuning solid; ImageNet square, magnitudes round.
SCHEMES = {
    "scratch": {"color": QUIET, "linestyle": ":", "marker": "x"},
    "features-imagenet": {"color": INK, "linestyle": "--", "marker": "s", "markerfacecolor": PAPER},
    "features-magnitudes": {"color": ACCENT, "linestyle": "--", "marker": "o", "markerfacecolor": PAPER},
    "finetune-imagenet": {"color": INK, "linestyle": "-", "marker": "s"},
    "finetune-magnitudes": {"color": ACCENT, "linestyle": "-", "marker": "o"},
}
_OTHERS = "^vD*P<>"
CLASS_COLOURS = (ACCENT, "#c8742c", "#6f8f3a", "#8d5fa8", "#b5495b", "#8a7f2c", "#4f7fc4")
CLASS_MARKERS = "os^DvP*X<>pdh8H"


def scheme_style(scheme: str, others: list[str]) -> dict:
    """Line and marker of a scheme; one that is not the paper's gets the next free marker."""
    place = others.index(scheme) if scheme in others else 0
    return SCHEMES.get(scheme) or {"color": QUIET, "linestyle": "-.", "marker": _OTHERS[place % len(_OTHERS)]}


def short(name: str, most: int = 18) -> str:
    """A class name for a figure: cut when long, without what matplotlib would read as mathematics."""
    plain = name.replace("$", r"\$").lstrip("_")
    return plain if len(plain) <= most else plain[: most - 1] + "…"
