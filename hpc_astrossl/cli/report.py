"""The verb ``report``."""

from pathlib import Path

from hpc_astrossl.cli import add_verb


def add(verbs) -> None:
    """Add this module's verbs."""
    verb = add_verb(
        verbs,
        "report",
        about="write tables, figures and one HTML page from an experiment's run folders",
        example="astrossl report paper --workdir /scratch/me/astrossl",
        handler=report,
    )
    verb.add_argument("experiment", help="its name below <workdir>/runs, or the path of its folder")
    verb.add_argument("--workdir", type=Path, default=Path(), help="the work directory (default: the current one)")
    verb.add_argument("--out", type=Path, help="where to write (default: <workdir>/reports/<experiment>)")
    verb.add_argument(
        "--projection", choices=("tsne", "umap"), default="tsne", help="how features are drawn (default: tsne)"
    )


def report(arguments) -> None:
    """Write the report and print the path of its page as the last line."""
    from hpc_astrossl.errors import InputError

    try:
        from hpc_astrossl.report.page import write_report
    except ModuleNotFoundError as error:
        raise InputError(
            f"the report needs {error.name}, which is not installed; pip install 'hpc_astrossl[report]'"
        ) from None
    from hpc_astrossl.report.base.runs import find_experiment

    folder = find_experiment(arguments.experiment, arguments.workdir)
    out = arguments.out or arguments.workdir / "reports" / folder.resolve().name
    print(write_report(folder, out, arguments.projection))
