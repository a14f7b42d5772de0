"""``astrossl weights``, ``embed`` and ``predict``: what runs begin from, and finished runs put to use."""

from argparse import Namespace
from pathlib import Path

from hpc_astrossl.names import IMAGENET


def add(verbs) -> None:
    """Add the verbs."""
    from hpc_astrossl.cli import add_verb

    weights = add_verb(
        verbs,
        "weights",
        about="put weights where runs find them, and list them",
        example=f"astrossl weights fetch {IMAGENET}",
        handler=None,
    )
    what = weights.add_subparsers(metavar="add|export|fetch|list", required=True)
    verb = what.add_parser("add", help="copy VGG16's convolutions from a .safetensors, .pth or .pt file")
    verb.add_argument("file", metavar="FILE", type=Path)
    verb.add_argument("--name", default=IMAGENET, help="the name that runs use (default: %(default)s)")
    verb.set_defaults(handler=add_weights)
    verb = what.add_parser("fetch", help="download weights by name; needs internet")
    verb.add_argument("name", metavar="NAME", help=IMAGENET)
    verb.set_defaults(handler=fetch_weights)
    verb = what.add_parser("export", help="write a finished run's convolutions for torchvision, with a model card")
    verb.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    verb.add_argument("file", metavar="FILE", type=Path, help=".safetensors or .pth; FILE.md will be the card")
    verb.set_defaults(handler=export_weights)
    what.add_parser("list", help="name, SHA-256 and file of all weights here").set_defaults(handler=list_weights)

    use = (
        ("embed", embed, "write a run's features of the objects of a store", "STORE", "sg.npz"),
        ("predict", predict, "write a run's answers for a store or a folder of images", "STORE|IMAGES", "sg.csv"),
    )
    for name, handler, about, source, out in use:
        example = f"astrossl {name} runs/demo/SG_scratch_nall_s0-1f2e3d4c stores/SG --out {out}"
        verb = add_verb(verbs, name, about=about, example=example, handler=handler)
        verb.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
        verb.add_argument("source", metavar=source, type=Path)
        verb.add_argument("--out", metavar="FILE", type=Path, required=True, help=".npz, or for predict also .csv")


def embed(arguments: Namespace) -> None:
    """``embed``: an ``.npz`` of ``object_id`` and ``features``."""
    from hpc_astrossl.errors import InputError
    from hpc_astrossl.training import apply

    if arguments.out.suffix != ".npz":
        raise InputError(f"--out {arguments.out}: features are written as .npz")
    ids, features = apply.embed(arguments.run, arguments.source)
    apply.write_table(arguments.out, {"object_id": ids, "features": features})
    print(f"{len(ids)} objects: {arguments.out}")


def predict(arguments: Namespace) -> None:
    """``predict``: a ``.csv`` or ``.npz`` of object id, class and probabilities, or magnitudes."""
    from hpc_astrossl.errors import InputError
    from hpc_astrossl.training import apply

    if arguments.out.suffix not in (".csv", ".npz"):
        raise InputError(f"--out {arguments.out}: answers are written as .csv or .npz")
    columns = apply.predict(arguments.run, arguments.source)
    apply.write_table(arguments.out, columns)
    print(f"{len(columns['object_id'])} objects: {arguments.out}")


def add_weights(arguments: Namespace) -> None:
    """``weights add``."""
    from hpc_astrossl.nets import weights

    path, digest = weights.add(arguments.file, arguments.name)
    print(f"{arguments.name}  sha256 {digest}  {path}")


def export_weights(arguments: Namespace) -> None:
    """``weights export``."""
    from hpc_astrossl.training.export import export

    card = export(arguments.run, arguments.file)
    print(f"{arguments.file}\n{card}")


def fetch_weights(arguments: Namespace) -> None:
    """``weights fetch``."""
    from hpc_astrossl.nets import weights

    path, digest = weights.fetch(arguments.name)
    print(f"{arguments.name}  sha256 {digest}  {path}")


def list_weights(_: Namespace) -> None:
    """``weights list``."""
    from hpc_astrossl.nets import weights

    found = weights.listed()
    for name, path, digest in found:
        print(f"{name}  sha256 {digest}  {path}")
    if not found:
        print(f"none; astrossl weights fetch {IMAGENET}, or astrossl weights add FILE")
