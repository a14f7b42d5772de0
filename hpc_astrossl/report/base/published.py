"""Published numbers, each with its citation: constants that stand beside ours and never enter them.

Martinazzo, Espadoto & Hirata 2020, Tables II and III and section III-B. All of their accuracies are of the
validation split. Differences are computed from these cells; those printed in the paper's Table III do not all
equal the difference of its own cells.
"""

import math
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from hpc_astrossl.report.base.records import Run, StoreRecord


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Where a number was published."""

    short: str
    full: str
    url: str


@dataclass(frozen=True, kw_only=True)
class PaperSet:
    """A labelled set of the paper: its survey and the number of images of each class."""

    survey: str
    classes: dict[str, int]

    @property
    def images(self) -> int:
        """Images of all classes."""
        return sum(self.classes.values())

    @property
    def majority_share(self) -> float:
        """What always naming the commonest class scores."""
        return max(self.classes.values()) / self.images


@dataclass(frozen=True, kw_only=True)
class Anchor:
    """A number of someone else for the same or a like task."""

    set: str
    survey: str
    value: float | None
    what: str
    source: Citation


PAPER = Citation(
    short="Martinazzo et al. 2020",
    full="A. Martinazzo, M. Espadoto, N. S. T. Hirata, “Self-supervised Learning for Astronomical Image "
    "Classification”, ICPR 2020",
    url="https://arxiv.org/abs/2004.11336",
)
ACKERMANN = Citation(
    short="Ackermann et al. 2018",
    full="S. Ackermann et al., “Using transfer learning to detect galaxy mergers”, MNRAS 479, 415 (2018)",
    url="https://arxiv.org/abs/1805.10289",
)
NAKAZONO = Citation(
    short="Nakazono et al. 2021",
    full="L. Nakazono et al., S-PLUS DR2 star, quasar and galaxy classification from the catalogue (2021)",
    url="https://arxiv.org/abs/2106.11986",
)
COSTA_DUARTE = Citation(
    short="Costa-Duarte et al. 2019",
    full="M. V. Costa-Duarte et al., “The S-PLUS: a star/galaxy classification based on a Machine Learning "
    "approach” (2019)",
    url="https://arxiv.org/abs/1909.08626",
)
SUELVES = Citation(
    short="Suelves et al. 2023",
    full="L. E. Suelves et al., merging galaxies told by photometry and the sky error alone (2023)",
    url="https://arxiv.org/abs/2211.07489",
)
HAYAT = Citation(
    short="Hayat et al. 2021",
    full="M. A. Hayat et al., “Self-Supervised Representation Learning for Astronomical Images” (2021)",
    url="https://arxiv.org/abs/2012.13083",
)
CITATIONS = (PAPER, ACKERMANN, NAKAZONO, COSTA_DUARTE, SUELVES, HAYAT)

# Section III-B, in the order of Table II.
PAPER_SETS = {
    "EF-15": PaperSet(
        survey="EFIGI",
        classes={"-5": 227, "-3": 189, "-2": 196, "-1": 152, "0": 196, "1": 257, "2": 219, "3": 517, "4": 472,
                 "5": 303, "6": 448, "7": 285, "8": 355, "9": 263, "10": 248},
    ),
    "EF-2": PaperSet(survey="EFIGI", classes={"elliptical": 289, "spiral": 3315}),
    "EF-4": PaperSet(
        survey="EFIGI", classes={"elliptical": 289, "spiral": 3315, "lenticular": 537, "irregular": 248}
    ),
    "MG": PaperSet(survey="SDSS", classes={"merging": 5778, "non-interacting": 9988}),
    "SGQ": PaperSet(survey="S-PLUS", classes={"star": 18000, "galaxy": 18000, "quasar": 18000}),
    "SG": PaperSet(survey="S-PLUS", classes={"star": 27981, "galaxy": 22109}),
}  # fmt: skip

_COLUMNS = ("scratch", "features-imagenet", "features-magnitudes", "finetune-imagenet", "finetune-magnitudes")
MAGNITUDES = tuple(name for name in _COLUMNS if name.endswith("-magnitudes"))
# Validation accuracy: (mean, standard deviation) of three runs.
TABLE_II = {
    name: dict(zip(_COLUMNS, row, strict=True))
    for name, row in {
        "EF-15": ((0.4227, 0.0256), (0.2642, 0.0212), (0.3271, 0.0141), (0.3683, 0.0222), (0.4048, 0.0245)),
        "EF-2": ((0.9683, 0.0082), (0.9697, 0.0040), (0.9580, 0.0056), (0.9893, 0.0016), (0.9687, 0.0045)),
        "EF-4": ((0.8729, 0.0153), (0.8000, 0.0271), (0.7801, 0.0013), (0.8774, 0.0035), (0.8322, 0.0080)),
        "MG": ((0.6336, 0.0000), (0.7825, 0.0006), (0.8041, 0.0045), (0.9580, 0.0042), (0.9360, 0.0016)),
        "SGQ": ((0.8722, 0.0038), (0.6624, 0.0014), (0.7255, 0.0015), (0.8760, 0.0011), (0.8828, 0.0008)),
        "SG": ((0.9897, 0.0035), (0.9366, 0.0005), (0.9799, 0.0010), (0.9901, 0.0006), (0.9928, 0.0004)),
    }.items()
}
RUNS = 3  # "mean ± standard deviation" of three runs each
VALIDATION_SHARE = 0.1  # splits of 80, 10 and 10%
# Validation accuracy with about 100 labels, one run each; not given for scratch.
TABLE_III = {
    "SG": dict(zip(_COLUMNS[1:], (0.8702, 0.9727, 0.9326, 0.9713), strict=True)),
    "SGQ": dict(zip(_COLUMNS[1:], (0.5529, 0.6051, 0.6485, 0.5138), strict=True)),
}
TABLE_III_SIZE = 100
PRETEXT_MAE, PRETEXT_MAE_MAGNITUDES = 0.0034, 0.1  # section IV-A, validation; of magnitudes/30, and in magnitudes
PRETEXT_SURVEY, PRETEXT_OBJECTS = "S-PLUS", 205_321  # section III-A

ANCHORS = (
    Anchor(set="MG", survey="SDSS", value=0.968, what="accuracy by transfer learning, the same images, own split",
           source=ACKERMANN),
    Anchor(set="MG", survey="SDSS", value=0.92, what="accuracy from the sky error alone: the background tells mergers",
           source=SUELVES),
    Anchor(set="SG", survey="S-PLUS", value=0.95, what="accuracy of a random forest on the catalogue",
           source=COSTA_DUARTE),
    Anchor(set="SGQ", survey="S-PLUS", value=0.976, what="mean completeness, catalogue with WISE, not images",
           source=NAKAZONO),
    Anchor(set="SGQ", survey="S-PLUS", value=0.854, what="the same without WISE, objects with no WISE counterpart",
           source=NAKAZONO),
    Anchor(set="few labels", survey="SDSS", value=None,
           what="the accuracy of supervised models with 2 to 4 times fewer labels", source=HAYAT),
    Anchor(set="pretext", survey=PRETEXT_SURVEY, value=PRETEXT_MAE,
           what=f"mean absolute error of magnitudes/30 ({PRETEXT_MAE_MAGNITUDES} mag), {PRETEXT_OBJECTS:,} objects, "
           "validation", source=PAPER),
)  # fmt: skip

_VALIDATION = (
    "The paper's accuracies are of the validation split, on which early stopping also chose the weights: "
    "optimistic. Our test accuracy stands beside our validation accuracy."
)
NOTES = {  # by the paper's set that a note is about
    "MG": "MG from scratch, 0.6336 ± 0.0000, is the majority share of MG: three collapsed runs, no baseline.",
    "EF-2": "EF-2 at 0.92 is no skill: the majority share is 0.9198. Balanced accuracy and macro F1 tell more.",
    "SG": "The differences printed in the paper's Table III do not all equal those of its cells (SG frozen features: "
    "printed +.1015, the cells give +.1025). Every difference here is computed.",
    "SGQ": "SGQ of the paper is fainter than SG; it is not SG with quasars added.",
}


def notes(sets: Sequence[str]) -> list[str]:
    """What to know of the paper's numbers for these of its sets; nothing where none is the paper's."""
    found = [NOTES[name] for name in sets if name in NOTES]
    return [_VALIDATION, *found] if any(name in PAPER_SETS for name in sets) else []


def paper_error(set_: str, scheme: str) -> float:
    """Standard error of an accuracy of Table II: of its mean over runs, and of its validation objects (binomial)."""
    mean, std = TABLE_II[set_][scheme]
    objects = VALIDATION_SHARE * PAPER_SETS[set_].images
    return math.sqrt(std**2 / RUNS + mean * (1 - mean) / objects)


def single_run_error(set_: str, accuracy: float) -> float:
    """Binomial standard error of one run's validation accuracy on a set of the paper."""
    return math.sqrt(accuracy * (1 - accuracy) / (VALIDATION_SHARE * PAPER_SETS[set_].images))


def of_survey(store: StoreRecord, survey: str) -> bool:
    """Whether a store says that it is of that survey, and nothing in its names says that it is simulated."""
    plain = re.sub(r"[^a-z0-9]", "", store.survey.lower())
    everything = f"{store.survey} {store.release} {store.name}".lower()
    return plain.startswith(re.sub(r"[^a-z0-9]", "", survey.lower())) and not re.search("simul|synth|mock", everything)


def not_the_papers(set_: str, store: StoreRecord, classes: int = 0) -> str:
    """Why a store is not the paper's set of that name, in words; empty when it is, or the paper has no such set.

    It is the paper's when it comes from the same survey, is not simulated, and keeps the same number of objects, in
    ``classes`` classes where that is given, of the paper's sizes where the store tells them.
    """
    paper = PAPER_SETS.get(set_)
    if paper is None:
        return ""
    same_survey, kept = of_survey(store, paper.survey), store.counts.get("kept")
    told, theirs = store.counts.get("classes"), sorted(paper.classes.values())
    sizes = sorted(told.values()) if isinstance(told, dict) and told else theirs
    alike = same_survey and kept == paper.images and classes in (0, len(paper.classes))
    if alike and sizes == theirs:
        return ""
    ours = f"{kept:,} objects" if isinstance(kept, int) else "an unknown number of objects"
    kind = f"in classes of {_listed(sizes)}" if alike else "a subset or another selection"
    kind = kind if same_survey else "another survey"
    origin = f"survey “{store.survey}”" if store.survey else "an unnamed survey"
    beside = f", in classes of {_listed(theirs)}" if alike else ""
    return f"{set_} here is {ours} of {origin} ({kind}), the paper's is {paper.images:,} of {paper.survey}{beside}"


def _listed(sizes: Iterable[int]) -> str:
    return ", ".join(f"{size:,}" for size in sorted(sizes))


def papers_set(set_: str, runs: Sequence[Run]) -> bool:
    """Whether all these runs are of the paper's set of that name; False without a run."""
    reasons = [not_the_papers(set_, run.store, len(run.class_names)) for run in runs]
    return set_ in PAPER_SETS and bool(runs) and not any(reasons)


def papers_pretext(run: Run) -> bool:
    """Whether a pretext run learnt magnitudes from the paper's objects: the same survey and number."""
    same = of_survey(run.store, PRETEXT_SURVEY) and run.store.counts.get("kept") == PRETEXT_OBJECTS
    return same and run.target == "magnitudes"
