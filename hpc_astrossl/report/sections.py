"""The sections of the page, in its order: each maker takes the desk and gives a section, or None."""

from collections.abc import Callable

from hpc_astrossl.report.accuracy.section import accuracy
from hpc_astrossl.report.base.desk import Desk, Section
from hpc_astrossl.report.controls.section import controls
from hpc_astrossl.report.curves.section import curves
from hpc_astrossl.report.errors.section import errors
from hpc_astrossl.report.features.section import features
from hpc_astrossl.report.low_data.section import low_data
from hpc_astrossl.report.objects.section import objects
from hpc_astrossl.report.pretext.section import pretext
from hpc_astrossl.report.pretexts.section import pretexts
from hpc_astrossl.report.study import section as study

# Problems last: they gather what the others could not read.
SECTIONS: tuple[Callable[[Desk], Section | None], ...] = (
    accuracy,
    low_data,
    errors,
    objects,
    pretext,
    pretexts,
    features,
    controls,
    curves,
    study.what_was_run,
    study.runs,
    study.published_numbers,
    study.problems,
)
