"""Classify an embedding by a few labels: measure first, then answer, then say what to label next."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from hpc_astrossl import identity, provenance
from hpc_astrossl.classify import page, upnext
from hpc_astrossl.classify.answers import Answers, Ready, answer
from hpc_astrossl.classify.crossval import REPEATS, Held, cross_validate
from hpc_astrossl.classify.models import FITS
from hpc_astrossl.classify.scores import confusion, scores
from hpc_astrossl.classify.space import SURE, Nearness, take
from hpc_astrossl.classify.truth import Truth, lay
from hpc_astrossl.errors import InputError
from hpc_astrossl.files import rows_as_csv
from hpc_astrossl.outputs import Files, Outputs
from hpc_astrossl.report.errors.calibration import Reliability, reliability
from hpc_astrossl.store.columns import WRITERS, check_suffix
from hpc_astrossl.store.embedding import Opened, open_embedding
from hpc_astrossl.terminal import shown

FORMAT, VERSION = "astrossl-classes", 1
CHOICE = "the higher accuracy in cross-validation; of equals, the lower cross entropy"
Say = Callable[[str], None]
NEXT = ("rank", "object_id", "class", "probability", "margin", "distance", "unlike")  # columns of next.csv


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What to classify by which labels, the files to write, classes to leave out, and how many to name next."""

    embedding: Path
    labels: Path
    outs: tuple[Path, ...]
    without: tuple[str, ...] = ()
    upnext: int = 100
    anyway: bool = False  # also where the store, or the run, that the embedding is of is another now
    recipe: str | None = None  # one that fine-tunes on the same labels, to be written as well

    @property
    def record(self) -> Path:
        """The record beside the first file."""
        return self.outs[0].with_suffix(".json")

    @property
    def page(self) -> Path:
        """The page that says what it is worth."""
        return self.record.with_suffix(".html")

    @property
    def figures(self) -> Path:
        """The folder of the page's figure."""
        return self.record.with_suffix(".figures")

    @property
    def recipe_file(self) -> Path:
        """Where the recipe that fine-tunes is written."""
        return self.record.with_suffix(".finetune.yaml")

    @property
    def files(self) -> list[Path]:
        """All that is written but the record."""
        recipe = [self.recipe_file] if self.recipe is not None else []
        return [*self.outs, self.next, self.page, *recipe, *(self.figures / name for name in page.FIGURES)]

    @property
    def beside(self) -> Outputs:
        """Who may replace these files: an earlier ``classify`` of this name."""
        return Outputs(verb="classify", record=self.record, format=FORMAT, older=_older)

    @property
    def next(self) -> Path:
        """The list of what to label next, beside the first file."""
        return self.outs[0].with_name("next.csv")


def classify(wish: Wish, say: Say = print) -> dict[str, Any]:
    """Write everything; returns what the record (``<stem>.json``) holds. InputError for wrong input.

    What was measured is said before the first answer is computed.
    """
    check_outs(wish)
    found = open_embedding(wish.embedding)
    store = found.about.get("store")
    note = identity.hold_embedding(found.about, str(wish.embedding), Path(store) if store else None, anyway=wish.anyway)
    if note:
        say(f"  {note}")
    truth = lay(wish.labels, found, wish.without)
    say(_of_labels(truth, found))
    taken = take(found, truth.rows)
    values = taken.scaling.of(taken.chosen)
    measured = {name: cross_validate(fit, values, truth.truth, len(truth.names)) for name, fit in FITS.items()}
    chosen = max(measured, key=lambda name: (measured[name].accuracy, -measured[name].loss()))
    for line in _of_scores(truth, measured, chosen):
        say(line)
    ready = Ready(
        model=FITS[chosen](values, truth.truth, len(truth.names), 0),
        scaling=taken.scaling,
        temperature=measured[chosen].temperature,
        nearness=Nearness(taken),
    )
    answers = answer(found, ready, truth)
    told = _told(wish, found, truth) | _measured(measured, chosen) | _answered(answers, ready)
    return _write(wish, found, answers, told)


def check_outs(wish: Wish) -> None:
    """InputError unless every file can be written and is new, or of an earlier ``classify`` of this name."""
    if len({out.resolve() for out in wish.outs}) < len(wish.outs):
        raise InputError(f"--out names a file twice: {', '.join(out.name for out in wish.outs)}")
    for out in wish.outs:
        check_suffix(out, WRITERS)
        if out.resolve() == wish.next.resolve():
            raise InputError(f"--out {out}: next.csv is what to label next; choose another name")
        if not out.parent.is_dir():
            raise InputError(f"--out {out}: no folder {out.parent}; make it first")
    for path in wish.files:
        if path.resolve() == wish.labels.resolve():
            raise InputError(f"--out {wish.outs[0]}: {path} would be written over, and these are the labels; choose "
                             "another name or folder")  # fmt: skip
    wish.beside.check(wish.files, f"--out {wish.outs[0]}")


def _older(told: Mapping[str, Any]) -> Files:
    """The files of a record of before, which lists the tables alone."""
    if told.get("format") != FORMAT or not isinstance(told.get("page"), str):
        return {}
    stem = told["page"].removesuffix(".html")
    return dict.fromkeys(["next.csv", told["page"], *(f"{stem}.figures/{name}" for name in page.FIGURES)])


def _of_labels(truth: Truth, found: Opened) -> str:
    counts = ", ".join(f"{shown(name)} {count}" for name, count in zip(truth.names, truth.counts, strict=True))
    return f"{len(truth.rows):,} labels ({counts}) among {len(found):,} objects"


def _of_scores(truth: Truth, measured: Mapping[str, Held], chosen: str) -> list[str]:
    """What is told before answers: warnings, both classifiers, and the classes of the one that was chosen."""
    lines = [f"  {words}" for words in truth.words()]
    for name, held in measured.items():
        made = scores(held)
        parts = [f"{kind} {share.value:.3f} [{share.low:.3f}, {share.high:.3f}]"
                 for kind, share in (("accuracy", made.accuracy), ("balanced", made.balanced_accuracy))]  # fmt: skip
        lines.append(f"{name}: {', '.join(parts)}{' (taken)' if name == chosen else ''}")
    made = scores(measured[chosen])
    for name, recall, precision in zip(truth.names, made.recall, made.precision, strict=True):
        shares = [f"{kind} {page.share(one)}" for kind, one in (("recall", recall), ("precision", precision))]
        lines.append(f"  {shown(name)}: {', '.join(shares)}")
    return lines


def _told(wish: Wish, found: Opened, truth: Truth) -> dict[str, Any]:
    """Identity: of the embedding, the labels and the code."""
    return {
        "format": FORMAT,
        "version": VERSION,
        "made": provenance.now(),
        "code": provenance.code(),
        "libraries": provenance.libraries(),
        "embedding": {"path": str(wish.embedding.resolve()), "sha256": found.identity, "objects": len(found),
                      "attributes": dict(found.about)},
        "labels": {"path": str(wish.labels.resolve()), "sha256": truth.identity, "used": len(truth.rows),
                   "elsewhere": len(truth.elsewhere), "without": list(wish.without)},
        "classes": list(truth.names),
        "labels_by_class": truth.counts,
        "words": truth.words(),
    }  # fmt: skip


def _measured(measured: Mapping[str, Held], chosen: str) -> dict[str, Any]:
    held = measured[chosen]
    models = {
        name: scores(one).plain() | {"cross_entropy": one.loss(), "calibration_error": _reliability(one, True).error}
        for name, one in measured.items()
    }
    return {
        "cross_validation": {"folds": held.folds, "repeats": REPEATS, "stratified": True},
        "models": models,
        "chosen": chosen,
        "choice": CHOICE,
        "majority_share": float(np.bincount(held.truth).max() / len(held.truth)),
        "confusion": confusion(held).tolist(),
        "reliability": {words: _plain(_reliability(held, after)) for words, after in page.CALIBRATED.items()},
    }


def _reliability(held: Held, calibrated: bool) -> Reliability:
    chances = held.chances(calibrated)
    return reliability(chances.argmax(axis=2) == held.truth, chances.max(axis=2))


def _plain(one: Reliability) -> dict[str, Any]:
    return {"error": one.error, "confidence": one.confidence.tolist(), "accuracy": one.accuracy.tolist(),
            "count": one.count.tolist()}  # fmt: skip


def _answered(answers: Answers, ready: Ready) -> dict[str, Any]:
    counts = np.bincount(answers.told, minlength=answers.chances.shape[1])
    return {
        "temperature": ready.temperature,
        "answers_by_class": counts.tolist(),
        "unlike": {"objects": int(answers.unlike.sum()), "limit": answers.limit, "level": SURE,
                   "variance_kept": ready.nearness.kept},
    }  # fmt: skip


def _write(wish: Wish, found: Opened, answers: Answers, told: dict[str, Any]) -> dict[str, Any]:
    """The tables, next.csv, the page and the recipe, and the record that names them, which is returned."""
    about = {name: told[name] for name in ("format", "version", "made", "chosen", "temperature")}
    about |= {"code": told["code"], "labels_sha256": told["labels"]["sha256"]}
    about |= {"embedding_sha256": told["embedding"]["sha256"], "class_names": told["classes"]}
    option = f"--out {wish.outs[0]}"
    try:
        with wish.beside.made(option) as batch:
            for out in wish.outs:
                WRITERS[out.suffix](batch.aside(out), answers.parts(found), about)
            rows = answers.upnext(wish.upnext)
            batch.write(wish.next, _next(found, answers, rows).encode())
            if wish.recipe is not None:
                batch.write(wish.recipe_file, wish.recipe.encode())
            told |= {"files": batch.sha256(), "page": wish.page.name}
            told["next"] = {"file": wish.next.name, "objects": len(rows), "rule": upnext.RULE}
            svg = batch.within(wish.figures, lambda folder: page.draw(told, folder))
            batch.write(wish.page, page.page(told, svg, wish.figures.name).encode())
            found.hold()
            return batch.put(told)
    except OSError as error:
        raise InputError(f"{option}: cannot be written ({error.strerror or error}); make room, or choose another "
                         "place, and run the same command again") from None  # fmt: skip


def _next(found: Opened, answers: Answers, rows: np.ndarray) -> str:
    names, margin, unlike = answers.truth.names, upnext.margins(answers.chances[rows]), answers.unlike
    told, chance = answers.told[rows], answers.chances[rows].max(axis=1)
    lines = (
        (i + 1, found.object_id[row], names[told[i]], f"{chance[i]:.4f}", f"{margin[i]:.4f}",
         f"{answers.distance[row]:.4f}", int(unlike[row]))
        for i, row in enumerate(rows)
    )  # fmt: skip
    return rows_as_csv([NEXT, *lines])
