"""Recomputes the numbers of a report from run folders, with numpy and scikit-learn alone: ``check(runs, report)``.

Nothing of the product is imported. Every number is made from the arrays that the runs kept (result.json tells only
which run is which), written with as many digits as the report prints, and looked for in the page, the CSV, the LaTeX
and the Markdown of its table. ``check`` returns how many were compared.
"""

import csv
import json
import math
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
from sklearn import metrics as sk
from sklearn.neighbors import NearestNeighbors

MINUS = "−"
Z = 1.959963984540054


def wilson(share: float, n: float) -> tuple[float, float]:
    """Wilson's 95% interval, as its formula stands in textbooks."""
    root = Z * math.sqrt(share * (1 - share) / n + Z * Z / (4 * n * n))
    low, high = ((share + Z * Z / (2 * n) + sign * root) / (1 + Z * Z / n) for sign in (-1, 1))
    return max(low, 0.0), min(high, 1.0)


def bracket(interval: tuple[float, float]) -> str:
    return f"[{interval[0] + 0.0:.4f}, {interval[1]:.4f}]"


def spread(values: list[float], digits: int = 4) -> str:
    std = f" ± {np.std(values, ddof=1):.{digits}f}" if len(values) > 1 else ""
    return f"{np.mean(values):.{digits}f}{std}"


class Run:
    """What a run folder holds, by split."""

    def __init__(self, folder: Path):
        self.result = json.loads((folder / "result.json").read_text())
        self.set, self.scheme = self.result["set"], self.result["scheme"]
        self.size, self.seed = self.result["train_size"], self.result["seed"]
        self.names, self.bands = self.result.get("class_names", []), self.result.get("bands", [])
        self.folder = folder
        with np.load(folder / "predictions.npz") as found:
            arrays = {key: found[key] for key in found.files}
        order = np.argsort(arrays["object_id"], kind="stable")
        self.arrays = {key: value[order] for key, value in arrays.items()}

    def of(self, split: str, key: str) -> np.ndarray:
        return self.arrays[key][self.arrays["split"] == split]

    def said(self, split: str) -> np.ndarray:
        return self.of(split, "output").argmax(axis=1)

    def measure(self, split: str, name: str) -> float:
        truth, said = self.of(split, "truth"), self.said(split)
        if name == "accuracy":
            return float(sk.accuracy_score(truth, said))
        if name == "balanced accuracy":
            return float(np.mean(sk.recall_score(truth, said, labels=np.unique(truth), average=None)))
        return float(sk.f1_score(truth, said, average="macro"))


def read(folder: Path) -> list[Run]:
    return [Run(path.parent) for path in sorted(folder.glob("*/result.json"))]


def cells(runs: list[Run]) -> dict[tuple, list[Run]]:
    """Runs with classes by set, scheme and size, ordered by seed."""
    found: dict[tuple, list[Run]] = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if run.result["target"] == "classes" and not run.result.get("control"):
            found.setdefault((run.set, run.scheme, run.size), []).append(run)
    return found


def largest(found: dict[tuple, list[Run]], set_: str) -> int | None:
    sizes = {size for name, _, size in found if name == set_}
    return None if None in sizes else max(sizes)


class Expected(dict):
    """(table, key of the row: its leading texts, column) -> the texts that must stand there."""

    def put(self, table: str, row: tuple[str, ...], column: str, *texts: str) -> None:
        self[table, row, column] = tuple(text.replace("-", MINUS) for text in texts)


def accuracies(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        if size != largest(found, set_):
            continue
        for split in ("validation", "test"):
            truth = group[0].of(split, "truth")
            right = np.mean([run.said(split) == truth for run in group], axis=0)
            interval = bracket(wilson(float(right.mean()), len(truth)))
            texts = spread([run.measure(split, "accuracy") for run in group]), interval
            out.put("accuracy", (set_, f"{split} accuracy"), scheme, *texts)
            share = np.bincount(truth).max() / len(truth)
            out.put("accuracy", (set_, f"{split} accuracy"), "majority", f"{share:.4f}")
        for name, label in (("balanced accuracy", "test balanced accuracy"), ("macro F1", "test macro F1")):
            out.put("accuracy", (set_, label), scheme, spread([run.measure("test", name) for run in group]))


def low_data(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        if len({key[2] for key in found if key[0] == set_}) < 2:
            continue
        for split in ("validation", "test"):
            key = (set_, "all" if size is None else f"{size:,}", split)
            out.put("low_data", key, scheme, spread([run.measure(split, "accuracy") for run in group]))


def by_class(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        if size != largest(found, set_):
            continue
        truth = np.concatenate([run.of("test", "truth") for run in group])
        said = np.concatenate([run.said("test") for run in group])
        names, seeds = group[0].names, len(group)
        made = sk.precision_recall_fscore_support(truth, said, labels=range(len(names)), zero_division=0)
        for k, (purity, completeness, f1, support) in enumerate(zip(*made, strict=True)):
            row, table = (names[k], scheme), f"classes_{set_}"
            named = int((said == k).sum())
            out.put(table, row, "objects", f"{int(support) // seeds:,}")  # a float where it is zero
            if support:
                interval = wilson(completeness, support / seeds)
                out.put(table, row, "completeness", f"{completeness:.4f}", bracket(interval))
            if named:
                out.put(table, row, "purity", f"{purity:.4f}", bracket(wilson(purity, named / seeds)))
                out.put(table, row, "named", f"{named / seeds:,.1f}")
            if support or named:
                out.put(table, row, "F1", f"{f1:.4f}")
        counts = sk.confusion_matrix(truth, said, labels=range(len(names)))
        for i, line in enumerate(counts):
            for j, count in enumerate(line):
                out.put(f"confusion_{set_}", (scheme, names[i], names[j]), "objects", f"{count:,}")


def calibration(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        if size != largest(found, set_):
            continue
        errors, over = [], []
        for run in group:
            sure = run.of("test", "output").max(axis=1).astype(float)
            right = run.said("test") == run.of("test", "truth")
            place = np.minimum((sure * 15).astype(int), 14)
            gaps = [abs((right[place == b] - sure[place == b]).sum()) for b in np.unique(place)]
            errors.append(sum(gaps) / len(sure))
            over.append(sure.mean() - right.mean())
        out.put("calibration", (set_, scheme), "calibration error", spread(errors))
        out.put("calibration", (set_, scheme), "confidence − accuracy", f"{np.mean(over):+.4f}")


def pretext(runs: list[Run], out: Expected) -> None:
    chosen = [run for run in runs if run.result["target"] == "magnitudes"]
    for run in chosen:
        if sum(one.set == run.set for one in chosen) > 1:
            continue
        table = f"pretext_{run.set}_n{'all' if run.size is None else run.size}"
        for split in ("validation", "test"):
            error = np.abs(run.of(split, "output").astype(float) - run.of(split, "truth"))
            for column, band in enumerate(run.bands):
                out.put(table, (band,), split, f"{np.nanmean(error[:, column]):.3f}")
            overall = np.mean([np.nanmean(line) for line in error])
            out.put(table, ("all bands, magnitudes",), split, f"{overall:.3f}")
            out.put(table, ("all bands, of magnitudes/30",), split, f"{overall / 30:.4f}")
        truth, known = run.of("test", "truth").astype(float), run.of("test", "uncertainty").astype(float)
        for column, band in enumerate(run.bands):
            guess = np.nanmean(np.abs(truth[:, column] - np.nanmedian(truth[:, column])))
            out.put(table, (band,), "guessing the median", f"{guess:.3f}")
            there = known[np.isfinite(known[:, column]), column]
            low, median, high = np.percentile(there, (16, 50, 84))
            note = f"[{low:.3f}, {high:.3f}], n = {len(there):,} of {len(known):,}"
            out.put(table, (band,), "catalogue uncertainty", f"{median:.3f}", note)


def features(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        path = group[0].folder / "features.npz"
        if size != largest(found, set_) or not scheme.startswith("features-") or not path.exists():
            continue
        with np.load(path) as arrays:
            label, values = arrays["label"], arrays["features"].astype(float)
        label, values = label[label >= 0], values[label >= 0]
        if len(values) < 12:  # too few to be shown; the page says so
            continue
        others = min(10, max(1, np.bincount(label)[np.bincount(label) > 0].min() - 1))  # of the smallest class
        near = NearestNeighbors(n_neighbors=others).fit(values).kneighbors(return_distance=False)
        votes = np.array([np.bincount(label[row]).argmax() for row in near])
        out.put("features", (set_, scheme), "neighbour accuracy", f"{(votes == label).mean():.4f}")
        out.put("features", (set_, scheme), "silhouette", f"{sk.silhouette_score(values, label):.4f}")


def every_cell(runs: list[Run], out: Expected) -> None:
    for (set_, scheme, size), group in cells(runs).items():
        row = (set_, scheme, "all" if size is None else f"{size:,}")
        out.put("cells", row, "n", f"{len(group)}")
        truth = group[0].of("test", "truth")
        right = np.mean([run.said("test") == truth for run in group], axis=0)
        for column, value in zip(("test low", "test high"), wilson(float(right.mean()), len(truth)), strict=True):
            out.put("cells", row, column, f"{value + 0.0:.4f}")
        for split in ("validation", "test"):
            out.put("cells", row, f"majority {split}", f"{majority(group[0], split):.4f}")
        for label, split, name in (
            ("validation accuracy", "validation", "accuracy"), ("test accuracy", "test", "accuracy"),
            ("test balanced accuracy", "test", "balanced accuracy"), ("test macro F1", "test", "macro F1"),
        ):  # fmt: skip
            values = [run.measure(split, name) for run in group]
            out.put("cells", row, label, f"{np.mean(values):.4f}")
            if len(values) > 1:
                out.put("cells", row, f"{label} std", f"{np.std(values, ddof=1):.4f}")


def majority(run: Run, split: str) -> float:
    truth = run.of(split, "truth")
    return float(np.bincount(truth).max() / len(truth))


def controls(runs: list[Run], out: Expected) -> None:
    found = {}
    for run in sorted(runs, key=lambda run: run.seed):
        if run.result["target"] == "classes":
            where = run.result["store"]["path"], run.scheme, run.size
            found.setdefault((run.result.get("control", ""), *where), []).append(run)
    for (control, *where), group in found.items():
        if not control:
            continue
        row = group[0].set, control, group[0].scheme, "all" if group[0].size is None else f"{group[0].size:,}"
        texts = spread([run.measure("test", "accuracy") for run in group]), f"n = {len(group)}"
        out.put("controls", row, "accuracy", *texts)
        out.put("controls", row, "majority", f"{majority(group[0], 'test'):.4f}")
        if plain := found.get(("", *where)):
            texts = spread([run.measure("test", "accuracy") for run in plain]), plain[0].set
            out.put("controls", row, "without the control", *texts)


def label_efficiency(runs: list[Run], out: Expected) -> None:
    """Every pair of schemes at every size; a row may be left out (no skill), but not be another (see ``check``)."""
    curves: dict[tuple, list] = {}
    for (set_, scheme, size), group in cells(runs).items():
        labels = size or group[0].result["objects"]["train"]
        mean = float(np.mean([run.measure("test", "accuracy") for run in group]))
        curves.setdefault((set_, scheme), []).append((labels, mean))
    for (set_, scheme), ours in curves.items():
        for other, theirs in ((key[1], sorted(curve)) for key, curve in curves.items() if key[0] == set_):
            if (scheme, other) not in COMPARED or len(theirs) < 2:
                continue
            x, y = np.log([labels for labels, _ in theirs]), [mean for _, mean in theirs]
            for labels, mean in ours:
                row = set_, scheme, f"{labels:,}", f"{mean:.4f}", other
                first = next((i for i, value in enumerate(y) if value >= mean), None)
                if first is None:
                    out.put("label_efficiency", row, "with labels", f"more than {theirs[-1][0]:,}")
                elif first == 0 and y[0] > mean:
                    out.put("label_efficiency", row, "with labels", f"fewer than {theirs[0][0]:,}")
                else:
                    at = max(first, 1)
                    needs = math.exp(np.interp(mean, y[at - 1 : at + 1], x[at - 1 : at + 1]))
                    out.put("label_efficiency", row, "with labels", f"{needs:,.0f}")
                    out.put("label_efficiency", row, "times", f"{needs / labels:.1f}")


COMPARED = {
    (f"{kind}-magnitudes", other)
    for kind in ("features", "finetune")
    for other in (f"{kind}-imagenet", "scratch")
}  # fmt: skip


def by_pretext(runs: list[Run], out: Expected) -> None:
    found = cells(runs)
    for (set_, scheme, size), group in found.items():
        kind, _, name = scheme.partition("-")
        row = set_, "all" if size is None else f"{size:,}"
        texts = spread([run.measure("test", "accuracy") for run in group]), f"n = {len(group)}"
        for one in {kind} & {"features", "finetune"} or {"features", "finetune"}:
            if any(key[1].startswith(f"{one}-") for key in found):
                out.put(f"pretexts_{one}", row, name or kind, *texts)
                out.put(f"pretexts_{one}", row, "majority", f"{majority(group[0], 'test'):.4f}")


def hours(runs: list[Run], out: Expected) -> None:
    groups: dict[tuple, list[dict]] = {}
    for run in runs:
        groups.setdefault((run.set, run.scheme), []).append(run.result)
    for row, group in groups.items():
        out.put("hours", row, "runs", f"{len(group)}")
        out.put("hours", row, "hours", f"{sum(one['seconds'] for one in group) / 3600:,.3f}")
        out.put("hours", row, "epochs", f"{sum(one['epochs'] for one in group):,}")


class Tables(HTMLParser):
    """The tables of the page: rows of texts by the table's name."""

    def __init__(self, text: str):
        super().__init__()
        self.rows: dict[str, list[list[str]]] = {}
        self.name, self.cell = "", None
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        ids = dict(attributes).get("id") or ""
        if ids.startswith("table-"):
            self.name = ids.removeprefix("table-")
            self.rows[self.name] = []
        elif tag == "tr" and self.name:
            self.rows[self.name].append([])
        elif tag in ("td", "th") and self.name:
            self.cell = []
        elif tag == "small" and self.cell is not None:
            self.cell.append("\n")

    def handle_data(self, data):
        if self.cell is not None:
            self.cell.append(data)

    def handle_endtag(self, tag):
        if tag in ("td", "th") and self.cell is not None:
            self.rows[self.name][-1].append("".join(self.cell).strip())
            self.cell = None


def located(rows: list[list[str]], key: tuple[str, ...], column: str) -> str:
    """The text of a row and column of the page; the first column of a group stands in its first row alone."""
    head, above = rows[0], [""] * 3
    for line in rows[1:]:
        above = [text.split("\n")[0] or old for text, old in zip(line, above, strict=False)]
        if tuple(above[: len(key)]) == key or tuple(text.split("\n")[0] for text in line[: len(key)]) == key:
            return line[head.index(column)]
    raise AssertionError(f"no row {key} on the page")


def plain_latex(text: str) -> str:
    for old, new in ((r"$\pm$", "±"), ("$-$", MINUS), ("{[}", "["), ("{]}", "]"), (r"\_", "_"), (r"\\", "\n")):
        text = text.replace(old, new)
    return re.sub(r"\\(?:textbf|underline|shortstack|allowbreak)|[{}]", "", text)


def check(runs: Path, report: Path) -> int:
    """AssertionError where a number of the report is not the one recomputed; how many were compared."""
    found, out = read(runs), Expected()
    makers = (accuracies, low_data, by_class, calibration, pretext, features)
    for make in (*makers, every_cell, controls, label_efficiency, by_pretext, hours):
        make(found, out)
    page = Tables((report / "report.html").read_text()).rows
    out = Expected({key: texts for key, texts in out.items() if _due(page, *key)})
    files: dict[tuple[str, str], str] = {}
    for (table, row, column), texts in out.items():
        text = located(page[table], row, column)
        for expected in texts:
            assert expected in text, f"{table} {row} {column}: the page has {text!r}, recomputed {expected!r}"
        for suffix in ("tex", "md"):
            if (table, suffix) not in files:
                made = (report / "tables" / f"{table}.{suffix}").read_text()
                files[table, suffix] = plain_latex(made) if suffix == "tex" else made
            for expected in texts:
                assert expected in files[table, suffix], f"{table}.{suffix} has no {expected!r} ({row} {column})"
        _in_csv(report / "tables" / f"{table}.csv", row, column, texts[0])
    return len(out)


def _due(page: dict[str, list[list[str]]], table: str, row: tuple[str, ...], column: str) -> bool:
    """Whether a number must be there: a section that a study has no use for may be missing, and rows without skill."""
    if table.startswith("pretexts_") and table not in page:
        return False
    if table != "label_efficiency":
        return True
    return any(tuple(text.split("\n")[0] for text in line[: len(row)]) == row for line in page.get(table, []))


def _in_csv(path: Path, row: tuple[str, ...], column: str, expected: str) -> None:
    lines = list(csv.reader(path.read_text().splitlines()))
    head = lines[0]
    for line in lines[1:]:
        if all(_same(text, wanted) for text, wanted in zip(line, row, strict=False)):
            text = line[head.index(column)]
            digits = len(expected.partition(".")[2].split(" ")[0])
            number = re.fullmatch(r"-?[\d.]+(e-?\d+)?", text)
            shown = f"{float(text):,.{digits}f}".replace("-", MINUS) if number else text
            wanted = expected.partition(" ±")[0] if number else expected
            assert wanted.lstrip("+") in shown, f"{path.name} {row} {column}: {text!r}, recomputed {expected!r}"
            return
    raise AssertionError(f"{path.name} has no row {row}")


def _same(text: str, wanted: str) -> bool:
    """Whether an entry of a CSV, numbers at full precision, is what the page shows."""
    if not re.fullmatch(r"-?\d+(\.\d+)?(e-?\d+)?", text) or not re.fullmatch(r"[\d,.]+", wanted):
        return wanted in (text, text.partition(" (")[0])  # small print stands in brackets
    return f"{float(text):,.{len(wanted.partition('.')[2])}f}" == wanted
