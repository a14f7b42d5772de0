"""The sections of the page, in its order: each maker takes the desk and gives a section, or None."""

from collections.abc import Callable

from hpc_astrossl.report.desk import Desk, Section
from hpc_astrossl.report.parts import classes, controls, curves, features, objects, pretext, study

# Problems last: they gather what the others could not read.
SECTIONS: tuple[Callable[[Desk], Section | None], ...] = (
    classes.accuracy,
    classes.low_data,
    classes.errors,
    objects.objects,
    pretext.pretext,
    features.features,
    controls.controls,
    curves.curves,
    study.what_was_run,
    study.runs,
    study.published_numbers,
    study.problems,
)
