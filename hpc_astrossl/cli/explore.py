"""``astrossl explore``: what an embedding holds."""

from argparse import Namespace
from pathlib import Path

from hpc_astrossl.cli import add_verb
from hpc_astrossl.terminal import shown


def add(verbs) -> None:
    """Add the verb."""
    verb = add_verb(
        verbs,
        "explore",
        about="find clusters, outliers and nearest neighbours in an embedding, and look at them in a page",
        example="astrossl explore sg.zarr --out explored --neighbours-of SPLUS.SIM-0003.00647.griz",
        handler=explore,
    )
    verb.add_argument("embedding", metavar="EMBEDDING", type=Path, help="what astrossl embed wrote as .zarr")
    verb.add_argument("--out", metavar="DIR", type=Path, required=True, help="folder for tables and contact sheets")
    verb.add_argument("--method", choices=("kmeans", "hdbscan"), default="kmeans", help="of clustering")
    verb.add_argument("--clusters", metavar="K", type=int, help="of k-means (default: as many as there are classes)")
    verb.add_argument("--outliers", metavar="N", type=int, default=100, help="how many to list (default: %(default)s)")
    verb.add_argument("--neighbours-of", metavar="ID", action="append", default=[], help="an object; may be repeated")
    verb.add_argument("--neighbours", metavar="N", type=int, default=10, help="of each (default: %(default)s)")
    verb.add_argument(
        "--index", choices=("auto", "exact", "faiss"), default="auto", help="auto: faiss when there are many"
    )
    verb.add_argument("--store", metavar="STORE", type=Path, help="for cutouts (default: the one that was embedded)")
    verb.add_argument("--anyway", action="store_true", help="also where the store or the run is another one now")
    verb.add_argument("--map", choices=("auto", "umap", "tsne", "pca"), default="auto", help="of explore.html")
    verb.add_argument("--table", metavar="FILE", action="append", default=[],
                      help="columns to colour by, with object_id: .csv, .parquet or .npz; may be repeated")  # fmt: skip
    verb.add_argument("--next", metavar="FILE", help="what classify wrote as next.csv: a sheet of the page")
    verb.add_argument("--json", action="store_true", help="print what explore.json holds")


def explore(arguments: Namespace) -> None:
    """``explore``; prints the scores and where the rest lies."""
    import json

    from hpc_astrossl.errors import InputError

    for name in ("outliers", "neighbours"):
        if getattr(arguments, name) < 1:
            raise InputError(f"--{name} {getattr(arguments, name)}: at least 1 is needed")
    try:
        from hpc_astrossl.explore.explore import Extra, Wish
        from hpc_astrossl.explore.explore import explore as look
    except ModuleNotFoundError as error:
        raise InputError(
            f"explore needs {error.name}, which is not installed; pip install 'hpc_astrossl[explore]'"
        ) from None
    told = look(
        Wish(
            embedding=str(arguments.embedding),
            out=str(arguments.out),
            method=arguments.method,
            clusters=arguments.clusters,
            outliers=arguments.outliers,
            neighbours_of=tuple(arguments.neighbours_of),
            neighbours=arguments.neighbours,
            index=arguments.index,
            store=str(arguments.store) if arguments.store else None,
            page=Extra(tables=tuple(arguments.table), upnext=arguments.next, map=arguments.map),
            anyway=arguments.anyway,
        )
    )
    if arguments.json:
        print(json.dumps(told, indent=1))
        return
    scores = ", ".join(
        f"{key.replace('_', ' ')} {value:.3f}" if isinstance(value, float) else f"{key.replace('_', ' ')} {value}"
        for key, value in told["clusters"].items()
    )
    print(f"{told['objects']} objects, {told['variance_kept']:.0%} of the variance kept")
    print(f"neighbours: {told['neighbours_by']}")
    for words in told["approximate"]:
        print(f"approximate: {words}")
    print(f"clusters: {scores}")
    print(f"strangest: {', '.join(map(shown, told['outliers'][:5]))}")
    for one in told["neighbours"]:
        print(f"nearest to {shown(one['of'])}: {', '.join(map(shown, one['nearest'][:5]))}")
    print(f"cutouts {told['pictures']}")
    if note := told["embedding"].get("note"):
        print(note)
    drawn = told["page"]
    print(f"map: {drawn['map']}, {drawn['drawn']:,} objects drawn")
    print(arguments.out / drawn["file"])
