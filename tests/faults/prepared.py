"""A scene ready to be disturbed: its input laid out, and what comes of it without a fault."""

import shutil
from pathlib import Path

from faults import victims
from faults.scenes import Scene


class Prepared:
    """``truth`` is what the undisturbed command left, in ``seconds`` and ``events`` (changes of files).

    ``largest`` is its largest file, ``made`` the bytes of all of them, ``given`` those of the input.
    """

    def __init__(self, scene: Scene, work: Path):
        self.scene, self.work, self.number = scene, work, 0
        self.template = work / "template"
        self.template.mkdir(parents=True)
        victims.in_child(lambda: scene.make(self.template), scene.command(self.template, 0).setup)
        folder = self.fresh()
        ended = victims.run(scene.command(folder, 0))
        if not ended.well:
            raise RuntimeError(f"{scene.name}: fails undisturbed: {ended.statuses}\n{ended.said}")
        self.truth, self.seconds, self.events = scene.prints(folder), ended.seconds, ended.changes
        if scene.whole(folder) == {}:
            raise RuntimeError(f"{scene.name}: nothing looks finished in the end")
        given = _sizes(self.template)
        made = [size for name, size in _sizes(folder).items() if name not in given]
        self.largest, self.made, self.given = max(made), sum(made), sum(given.values())
        self.ranks = len(scene.command(folder, 0).ranks)
        shutil.rmtree(folder)

    def fresh(self) -> Path:
        """A folder of its own with the input."""
        self.number += 1
        return Path(shutil.copytree(self.template, self.work / f"{self.number:04d}", symlinks=True))


def _sizes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
