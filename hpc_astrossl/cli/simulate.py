"""``astrossl simulate``: a synthetic survey with the file layout of the real one."""

from dataclasses import fields
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.specs.simulation import SurveySpec

_HELP = {
    "fields": "number of fields",
    "objects": "objects drawn in each field",
    "size": "side of a field in pixels of 0.55 arcseconds (S-PLUS: 11000)",
    "seed": "the same seed gives the same bytes of every file",
}


def add(verbs) -> None:
    """Add this module's verbs."""
    verb = add_verb(
        verbs,
        "simulate",
        about="simulate a survey with the file layout of S-PLUS DR1: images, zero points, pictures, catalogues",
        example="astrossl simulate survey --fields 2 --objects 300 --size 1200 --seed 1",
        handler=run,
    )
    verb.add_argument("out", metavar="OUT", type=Path, help="folder to create")
    for field in fields(SurveySpec):
        about = f"{_HELP[field.name]} (default {field.default})"
        verb.add_argument(f"--{field.name}", metavar="N", type=int, default=field.default, help=about)
    verb.add_argument("--workers", metavar="N", type=int, help="worker processes (default: one a core)")


def run(arguments) -> None:
    """Simulate the survey that the arguments describe."""
    spec = SurveySpec(**{field.name: getattr(arguments, field.name) for field in fields(SurveySpec)})
    from hpc_astrossl.simulate.survey import simulate

    counts = simulate(arguments.out, spec, arguments.workers)
    print(
        f"{arguments.out}: {spec.fields} fields, {counts['drawn']} objects drawn, {counts['detected']} in the "
        f"catalogue, {counts['spectra']} with a spectrum"
    )
