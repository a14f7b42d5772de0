"""What the suite found: benchmarks/results/faults.json, a scene at a time, and the table that is made of it."""

import json
import os
from dataclasses import asdict
from pathlib import Path
from typing import Any

from faults.trials import Tally
from hpc_astrossl import provenance

HEAD = "| what | points | survived | lost | afterwards | of which |"
FILE = Path(__file__).resolve().parents[2] / "benchmarks/results/faults.json"
CODE = provenance.code()  # of the beginning: this record's being written makes a checkout differ from its commit


def add(part: str, tally: Tally) -> None:
    """Put a scene's tally in the place of its last one; ``part`` is the kind of fault."""
    entry = asdict(tally) | {"seconds": round(tally.seconds), "longest_end": round(tally.longest_end, 2)}
    keep(part, tally.scene, {key: value for key, value in entry.items() if key != "scene"})


def keep(part: str, name: str, entry: dict[str, Any]) -> None:
    """Put an entry, with what made it and when, into a part of the file."""
    whole = read()
    head = {"date": provenance.now(), **CODE, "cores": len(os.sched_getaffinity(0))}
    whole.setdefault(part, {})[name] = entry | head
    FILE.write_text(json.dumps(whole, indent=1) + "\n")


def read() -> dict[str, Any]:
    """The file as it is."""
    return json.loads(FILE.read_text()) if FILE.exists() else {"command": "make faults"}


def row(tally: Tally) -> str:
    """A scene as a line of the table."""
    return _row(tally.scene, asdict(tally))


def _row(name: str, entry: dict[str, Any]) -> str:
    kinds = ", ".join(f"{count} {kind}" for kind, count in entry["tried"].items())
    tried, survived = sum(entry["tried"].values()), sum(entry["survived"].values())
    return f"| {name} | {tried} | {survived} | {len(entry['lost'])} | {entry['same']} | {kinds} |"


def tables() -> str:
    """All scenes of the file, a table for each kind of fault, in Markdown."""
    lines = []
    for part, scenes in read().items():
        if part in ("kills", "disks", "twins", "silences", "nolocks", "silent"):
            lines += [
                f"\n{part}",
                HEAD,
                "|---|---|---|---|---|---|",
            ]
            lines += [_row(name, entry) for name, entry in scenes.items()]
    return "\n".join(lines)
