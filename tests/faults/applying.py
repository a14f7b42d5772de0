"""``astrossl embed``, ``predict`` and ``report``: what is made of finished runs."""

import dataclasses
import re
from pathlib import Path

from run_folders import write_study
from training_toys import HEAD, make_run, make_store

from faults.scenes import Prints, Scene, digests
from faults.victims import Command
from hpc_astrossl import names

RUN = make_run(dataclasses.replace(HEAD, epochs=1), train_size=12)
DATE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+.\d:]*")
UNFINISHED = (".parts/", ".parts.done/", ".aside", ".removed", ".partial", ".lock")


def small() -> None:
    """As of training; parts of eight objects."""
    from faults import training
    from hpc_astrossl.training import apply

    training.small()
    apply.Job.__init__.__kwdefaults__["part_rows"] = 8


def scenes() -> list[Scene]:
    """One a verb."""
    return [
        _applied("embed", ".zarr", ".parquet"),
        _applied("predict", ".csv", ".npz", share=0.4),
        Scene(name="report", make=_study, command=_report, prints=_page, whole=_page_so_far,
              same="byte-identical but for its date"),
    ]  # fmt: skip


def _applied(verb: str, *forms: str, share: float = 1.0) -> Scene:
    def command(folder: Path, attempt: int) -> Command:
        run = f"runs/{RUN.experiment}/{names.resolved(RUN).run_id}"
        outs = [word for form in forms for word in ("--out", f"out/table{form}")]
        return Command(arguments=(verb, run, "toy", *outs), cwd=folder, setup="faults.applying:small")

    def whole(folder: Path) -> Prints:
        return digests(folder / "out", but=lambda name: any(word in name for word in UNFINISHED))

    return Scene(name=verb, make=_trained, command=command, prints=lambda folder: digests(folder / "out"), whole=whole,
                 share=share)  # fmt: skip


def _trained(folder: Path) -> None:
    """A run that is done, and a store, which all trials share: what is made of it says where it lies."""
    from hpc_astrossl.training.run import train

    (folder / "toy").symlink_to(make_store(folder.parent / "toy"))
    train(RUN, folder)
    (folder / "out").mkdir()


def _study(folder: Path) -> None:
    write_study(folder / "runs/study", sets=("SG",), sizes=(None,), schemes=("scratch", "features-magnitudes"))


def _report(folder: Path, attempt: int) -> Command:
    return Command(arguments=("report", "study"), cwd=folder)


def _page(folder: Path) -> Prints:
    """Every file of the report; of the page, its text without its date."""
    out = folder / "reports/study"
    found = digests(out, but=lambda name: name in ("report.html", ".lock"))
    page = out / "report.html"
    return found | ({"report.html": DATE.sub("", page.read_text())} if page.exists() else {})


def _page_so_far(folder: Path) -> Prints:
    return {name: value for name, value in _page(folder).items() if not name.endswith(UNFINISHED)}
