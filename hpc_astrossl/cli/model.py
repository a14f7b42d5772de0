"""``astrossl weights``: what runs begin from."""

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
    verb = add_verb(
        what,
        "add",
        about="copy a network's weights from a .safetensors, .pth or .pt file to where runs find them",
        example="astrossl weights add vgg16_features.pth --name mine",
        handler=add_weights,
    )
    verb.add_argument("file", metavar="FILE", type=Path, help="the file with the weights")
    verb.add_argument(
        "--name",
        default=IMAGENET,
        help="the name that runs use (default: %(default)s); imagenet-NAME is for backbone NAME",
    )
    verb.add_argument("--anyway", action="store_true",
                      help="even if nothing tells which objects their run has seen (FILE.seen.npz)")  # fmt: skip
    verb = add_verb(
        what,
        "fetch",
        about="download weights by name, in full precision; needs internet",
        example=f"astrossl weights fetch {IMAGENET}",
        handler=fetch_weights,
    )
    verb.add_argument("name", metavar="NAME", help=IMAGENET)
    verb = add_verb(
        what,
        "export",
        about="write a finished run's convolutions for torchvision, with a model card",
        example="astrossl weights export runs/paper/pretext_… survey.safetensors",
        handler=export_weights,
    )
    verb.add_argument("run", metavar="RUN", type=Path, help="the folder of a finished run")
    verb.add_argument(
        "file",
        metavar="FILE",
        type=Path,
        help=".safetensors or .pth; FILE.md will be the card, FILE.seen.npz the objects it has seen",
    )
    verb.add_argument(
        "--anyway", action="store_true", help="export even if the run's store or first weights have changed since"
    )
    add_verb(
        what,
        "list",
        about="show name, SHA-256 and file of all weights here",
        example="astrossl weights list",
        handler=list_weights,
    )


def add_weights(arguments: Namespace) -> None:
    """``weights add``."""
    from hpc_astrossl.nets import weights

    path, digest = weights.add(arguments.file, arguments.name, anyway=arguments.anyway)
    print(f"{arguments.name}  sha256 {digest}  {path}")


def export_weights(arguments: Namespace) -> None:
    """``weights export``."""
    from hpc_astrossl.training.export import export

    card = export(arguments.run, arguments.file, anyway=arguments.anyway)
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
