"""``astrossl submit`` without a scheduler: two at once; what tasks themselves survive is shown by the other scenes."""

from pathlib import Path

from training_toys import BRIEF, make_store

from faults.scenes import Prints, Scene
from faults.training import SAME, run_prints, whole
from faults.victims import Command

RECIPE = f"""\
experiment: toys
sets:
  toy: {{store: toy}}
schemes: [scratch]
seeds: [0, 1]
{BRIEF}report: false
"""


def scenes() -> list[Scene]:
    """Two runs, one after the other."""
    return [
        Scene(name="submit, on this machine", make=_lay_out, command=_submit, prints=_prints, whole=whole, same=SAME,
              faults=("twins",)),
    ]  # fmt: skip


def _lay_out(folder: Path) -> None:
    make_store(folder / "toy")
    (folder / "toys.yaml").write_text(RECIPE)


def _submit(folder: Path, attempt: int) -> Command:
    return Command(arguments=("submit", "toys.yaml", "--cluster", "local"), cwd=folder)


def _prints(folder: Path) -> Prints:
    """What the runs left, and how often a task was begun."""
    notes = (folder / "runs/toys/.tasks").glob("scratch-*.jsonl")
    starts = sum(line.count('"start"') for path in notes for line in path.read_text().splitlines())
    return run_prints(folder) | {"starts": starts}
