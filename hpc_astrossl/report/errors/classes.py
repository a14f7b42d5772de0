"""Completeness and purity of every class, the first thing looked for in a classification of objects of the sky."""

from hpc_astrossl.report.base import cells as c
from hpc_astrossl.report.base.by_class import ClassMeasures, Measure, measures
from hpc_astrossl.report.base.desk import Desk
from hpc_astrossl.report.base.tables import DASH, Entry, Table, number, text

_COLUMNS = ("class", "scheme", "completeness", "purity", "F1", "objects", "named")


def table(desk: Desk, set_: str) -> Table | None:
    """A row a class and scheme, on test objects at the set's largest size; None without predictions."""
    size, rows = c.main_size(desk.classes, set_), []
    found = desk.row(set_, size, "test")
    names = {scheme: c.get(desk.classes, set_, scheme, size).runs[0].class_names for scheme in found}
    by_scheme = {scheme: measures(said) for scheme, said in found.items()}
    for k in range(max((len(found) for found in by_scheme.values()), default=0)):
        rows += [_row(names[scheme][k], scheme, every[k]) for scheme, every in by_scheme.items() if k < len(every)]
    if not rows:
        return None
    return Table(
        name=f"classes_{set_}",
        title=f"Completeness and purity by class, {set_}, test objects",
        columns=_COLUMNS,
        rows=tuple(rows),
        caption="Completeness (recall): the share of the objects of a class that are named so. Purity (precision): the "
        "share of the objects named so that are of the class. F1: their harmonic mean. All seeds together; in brackets "
        "the 95% interval over the objects of one seed (Wilson). Named: objects that a seed names so, in the mean.",
        numeric=frozenset(range(2, 7)),
    )


def _row(name: str, scheme: str, one: ClassMeasures) -> tuple[Entry, ...]:
    never = bool(one.objects) and not one.named
    named = text("never", value=0.0, mark="bad") if never else number(one.named, 1)
    shares = [_share(one.completeness), _share(one.purity), _share(one.f1)]
    return (text(name), text(scheme), *shares, number(one.objects, 0), named)


def _share(found: Measure | None) -> Entry:
    if found is None:
        return text(DASH, mark="absent")
    return text(f"{found.share:.4f}", value=found.share, note=f"[{found.low:.4f}, {found.high:.4f}]")
