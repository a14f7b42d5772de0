"""What the record of the pretexts says: a table in Markdown for each set. Nothing is run."""

from statistics import mean, stdev
from typing import Any

ORDER = ("magnitudes", "rotation", "patches", "clusters", "simclr", "byol", "imagenet", "random", "pixel-7nn")


def told(rows: dict[str, dict[str, Any]]) -> str:
    """Test accuracy by set, scheme and number of labels: mean ± sample standard deviation; † one collapsed."""
    groups: dict[tuple, list[dict[str, Any]]] = {}
    for row in rows.values():
        if row["target"] == "classes" and not row["control"]:
            groups.setdefault((row["set"], row["scheme"], row["size"]), []).append(row)
    parts = []
    for set_ in sorted({key[0] for key in groups}):
        own = {key[1:]: found for key, found in groups.items() if key[0] == set_}
        sizes = sorted({size for _, size in own}, key=lambda size: (size is None, size))
        any_row = next(iter(own.values()))[0]
        head = [f"| {set_}, labels | {' | '.join('all' if size is None else f'{size:,}' for size in sizes)} |",
                f"|---|{'---|' * len(sizes)}"]  # fmt: skip
        body = [
            f"| {scheme} | {' | '.join(_entry(own.get((scheme, size), [])) for size in sizes)} |"
            for scheme in sorted({scheme for scheme, _ in own}, key=_place)
        ]
        seeds = max(len(found) for found in own.values())
        foot = f"{any_row['objects']['test']:,} test objects, majority {any_row['majority']:.3f}, {seeds} seeds."
        parts.append("\n".join([*head, *body, "", foot]))
    return "\n\n".join(parts)


def _entry(found: list[dict[str, Any]]) -> str:
    if not found:
        return "–"
    values = [row["test"]["accuracy"] for row in found]
    spread = f" ± {stdev(values):.3f}" if len(values) > 1 else ""
    return f"{mean(values):.3f}{spread}{' †' if any(row.get('collapsed') for row in found) else ''}"


def _place(scheme: str) -> tuple[int, str]:
    name = scheme.partition("-")[2] if scheme.startswith(("features-", "finetune-")) else scheme
    return ORDER.index(name) if name in ORDER else len(ORDER), scheme
