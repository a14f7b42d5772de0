"""What the record of the pretexts says, as tables in Markdown: one over all sets, and one a set and network. Nothing is
run."""

from statistics import mean, stdev
from typing import Any

import numpy as np

from hpc_astrossl.report.base.outcomes import Outcome
from hpc_astrossl.report.base.statistics import Verdict, verdict

Row = dict[str, Any]
FEW, MANY = 100, 6  # labels of the table over all sets; schemes that a set in it has at least
FACTS = {
    "network": lambda row: row["network"],
    "test objects": lambda row: f"{row['objects']['test']:,}",
    "majority": lambda row: f"{row['majority']:.3f}",
}
ORDER = ("magnitudes", "measured", "rotation", "patches", "clusters", "simclr", "byol", "imagenet", "random",
         "pixel-7nn")  # fmt: skip


def overview(rows: dict[str, Row], size: int | None = FEW) -> str:
    """Test accuracy of frozen features and of pixels with so many labels (None: all), a column a set, as in README."""
    found: dict[str, dict[tuple, list[Row]]] = {}
    for row in rows.values():
        frozen = row["scheme"].startswith(("features-", "pixel-"))
        if frozen and row["target"] == "classes" and not row["control"] and row["size"] == size:
            column = (row["network"] != "vgg16", row["network"], row["set"])
            found.setdefault(row["scheme"], {}).setdefault(column, []).append(row)
    columns = sorted({column for cells in found.values() for column in cells})
    columns = [one for one in columns if sum(one in cells for cells in found.values()) >= MANY]
    one_of = [next(cells[column][0] for cells in found.values() if column in cells) for column in columns]
    head = f"| {'all' if size is None else size} labels |"
    lines = [f"{head} {' | '.join(row['set'] for row in one_of)} |", f"|---|{'---|' * len(columns)}"]
    for name, tell in FACTS.items():
        lines.append(f"| {name} | {' | '.join(map(tell, one_of))} |")
    judged = {column: _verdict({name: cells.get(column, []) for name, cells in found.items()}) for column in columns}
    for scheme in sorted(found, key=_place):
        if any(column in found[scheme] for column in columns):
            cells = [_entry(found[scheme].get(column, []), scheme, judged[column]) for column in columns]
            lines.append(f"| {scheme} | {' | '.join(cells)} |")
    return "\n".join(lines)


def told(rows: dict[str, Row]) -> str:
    """Test accuracy by set, scheme and number of labels, one table a set and network; then the controls."""
    groups: dict[tuple, dict[tuple, list[Row]]] = {}
    for row in rows.values():
        if row["target"] == "classes":
            control = bool(row["control"])
            key = ("controls" if control else "", row["network"], "" if control else row["set"])
            column = (False, row["set"]) if control else (row["size"] is None, row["size"])
            groups.setdefault(key, {}).setdefault((row["scheme"], column), []).append(row)
    return "\n\n".join(_table(groups[key], key) for key in sorted(groups))


def _table(cells: dict[tuple, list[Row]], key: tuple[str, str, str]) -> str:
    """Bold: the largest mean, and those that paired tests cannot tell from it; † a run names one class for all."""
    kind, network, set_ = key
    columns = sorted({column for _, column in cells})
    schemes = sorted({scheme for scheme, _ in cells}, key=_place)
    verdicts = {
        column: None if kind else _verdict({s: cells.get((s, column), []) for s in schemes}) for column in columns
    }
    head = f"{kind}, {network}" if kind else f"{set_}, {network}, labels"
    lines = [f"| {head} | {' | '.join('all' if column[0] else str(column[1]) for column in columns)} |",
             f"|---|{'---|' * len(columns)}"]  # fmt: skip
    lines += [
        f"| {scheme} | {' | '.join(_entry(cells.get((scheme, one), []), scheme, verdicts[one]) for one in columns)} |"
        for scheme in schemes
    ]
    seeds = max(len(found) for found in cells.values())
    first = {row["set"]: row for found in cells.values() for row in found}
    about = [
        f"{name}: {row['objects']['test']:,} test objects, majority {row['majority']:.3f}"
        for name, row in sorted(first.items())
    ]
    return "\n".join([*lines, "", f"{'; '.join(about)}; {seeds} seeds."])


def _verdict(found: dict[str, list[Row]]) -> Verdict | None:
    return verdict({scheme: _outcome(rows) for scheme, rows in found.items() if rows}, "accuracy")


def _outcome(rows: list[Row]) -> Outcome:
    """Right and wrong answers as two classes, of which the first is true: shares of accuracy are the same."""
    rows = sorted(rows, key=lambda row: row["seed"])
    count = rows[0]["objects"]["test"]
    bits = [np.unpackbits(np.frombuffer(bytes.fromhex(row["right"]), dtype=np.uint8))[:count] for row in rows]
    ids, seeds = np.arange(count).astype(str), tuple(row["seed"] for row in rows)
    said, sure = np.array(bits, dtype=int), np.ones((len(rows), count))
    return Outcome(object_id=ids, truth=np.ones(count, dtype=int), said=said, sure=sure, seeds=seeds, classes=2)


def _entry(found: list[Row], scheme: str, judged: Verdict | None) -> str:
    if not found:
        return "–"
    values = [row["test"]["accuracy"] for row in found]
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    text = f"{mean(values):.3f}{spread}{' †' if any(row.get('collapsed') for row in found) else ''}"
    leads = judged is not None and judged.behind and (scheme == judged.leader or scheme in judged.level_with)
    return f"**{text}**" if leads else text


def _place(scheme: str) -> tuple[bool, int, str]:
    trained, _, name = scheme.partition("-") if scheme.startswith(("features-", "finetune-")) else ("", "", scheme)
    return trained == "finetune", ORDER.index(name) if name in ORDER else len(ORDER), scheme
