"""Who may import whom: held once by the import graph, and once in a fresh interpreter with modules blocked."""

import ast
import functools
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "hpc_astrossl"
FLOOR = {
    "config",
    "specs",
    "errors",
    "files",
    "identity",
    "ids",
    "inputs",
    "locks",
    "machine",
    "manifest",
    "names",
    "npz",
    "provenance",
    "terminal",
    "outputs",
    "cache",
    "objects",
    "labels",
    "",
}  # "": the package
MIDDLE = {"store", "launch", "report"}
SIBLINGS = {"nets", "targets", "engines", "loading", "tables", "simulate"}
PREPROCESSING = {"tables", "selection", "cutting"}
# Room -> rooms of the package it may import, besides itself.
ALLOWED = {
    **dict.fromkeys(FLOOR, FLOOR),
    **dict.fromkeys(MIDDLE, FLOOR),
    **dict.fromkeys(SIBLINGS, FLOOR | {"store"}),
    # Which objects, and their pixels: neither knows the other; ``ingest`` alone sees both.
    "selection": FLOOR | {"store", "tables"},
    "cutting": FLOOR | {"store", "tables"},
    "ingest": FLOOR | {"store"} | PREPROCESSING,
    "explore": FLOOR | {"store", "report"},
    "classify": FLOOR | {"store", "report"},
    "pretexts": FLOOR | {"store", "nets", "loading"},
    "training": FLOOR | SIBLINGS | {"store", "cutting", "pretexts"},
    "cli": FLOOR | MIDDLE | SIBLINGS | PREPROCESSING | {"ingest", "training", "explore", "classify"},
    "__main__": FLOOR | {"cli"},
}
# Library -> the only rooms that may import it at all.
DOORS = {
    "zarr": {"store"},
    "numcodecs": {"store"},
    "numba": {"loading"},
    "simplejpeg": {"loading"},
    "nvidia": {"loading", "cli"},
    "horovod": {"engines", "cli"},
    "submitit": {"launch"},
    "astropy": {"tables", "cutting", "simulate"},
    "pyarrow": {"tables", "selection", "store", "training"},
    "PIL": {"cutting", "simulate", "store", "explore"},
    "galsim": {"simulate"},
    "sep": {"simulate", "targets"},
    "torch": {"nets", "targets", "engines", "loading", "pretexts", "training", "cli"},
    "torchvision": {"nets", "cli"},
    "matplotlib": {"report"},
    "sklearn": {"pretexts", "report", "explore", "classify"},
    "umap": {"report", "explore"},
    "faiss": {"explore"},
    "jinja2": {"report"},
}
SOURCES = sorted(PACKAGE.rglob("*.py"))


def room(path: Path) -> str:
    """The room a file belongs to: its first folder, or its own name at the top of the package."""
    first = path.relative_to(PACKAGE).parts[0]
    return "" if first == "__init__.py" else first.removesuffix(".py")


@functools.cache
def imports(path: Path, *, top_only: bool = False) -> set[str]:
    """Dotted names of everything a file imports, anywhere in it or only when it is imported."""
    tree = ast.parse(path.read_text())
    nodes = tree.body if top_only else ast.walk(tree)
    found: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_rooms_import_downwards_only(path):
    here = room(path)
    assert here in ALLOWED, f"{here} is no room of the design; say in ALLOWED what it may import"
    for name in imports(path):
        if name.split(".")[0] == "hpc_astrossl":
            there = name.split(".")[1]
            there = "" if there.startswith("__") else there
            assert there == here or there in ALLOWED[here], f"{path.name} in {here!r} imports {name}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_each_heavy_library_has_its_door(path):
    for name in imports(path):
        library = name.split(".")[0]
        assert room(path) in DOORS.get(library, {room(path)}), f"{path.name} imports {name}"


def test_which_objects_are_chosen_without_an_image_library():
    code = "import sys, hpc_astrossl.selection.select, hpc_astrossl.selection.splits; print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent, check=True)
    seen = set(eval(done.stdout))
    assert "hpc_astrossl.selection.select" in seen
    assert not {"PIL", "astropy.wcs", "astropy.visualization", "hpc_astrossl.cutting", "hpc_astrossl.ingest"} & seen


@pytest.mark.parametrize("folder", ["jobs", "preprocess"])
def test_recipe_folders_hold_no_code_and_are_never_imported(folder):
    assert not list((PACKAGE.parent / folder).rglob("*.py"))
    for path in SOURCES:
        assert folder not in {name.split(".")[0] for name in imports(path)}, path


# What must be importable where a set of libraries is absent.
EVERYWHERE = "hpc_astrossl.config hpc_astrossl.names hpc_astrossl.provenance hpc_astrossl.cache hpc_astrossl.specs.run"
LOGIN = f"{EVERYWHERE} hpc_astrossl.specs.jobs hpc_astrossl.specs.cluster hpc_astrossl.launch.grid"
LOGIN += " hpc_astrossl.launch.task hpc_astrossl.launch.state hpc_astrossl.launch.slurm hpc_astrossl.cli"
CPU_NODE = f"{EVERYWHERE} hpc_astrossl.store hpc_astrossl.ingest.build hpc_astrossl.cli"
HEAVY = "torch torchvision nvidia horovod safetensors"
ENVIRONMENTS = {
    "login node": (LOGIN, f"{HEAVY} numpy zarr astropy scipy pyarrow PIL matplotlib sklearn galsim sep"),
    "CPU node": (CPU_NODE, f"{HEAVY} galsim sep matplotlib sklearn"),
}
PROBE = """
import sys, importlib, importlib.abc
class Blocked(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name.split(".")[0] in {blocked!r}.split():
            raise ImportError(name + " is not installed on this kind of node")
sys.meta_path.insert(0, Blocked())
for name in {modules!r}.split():
    importlib.import_module(name)
from hpc_astrossl import cli
try:
    cli.main(["--help"])
except SystemExit as end:
    assert end.code == 0
"""


@pytest.mark.parametrize("where", ENVIRONMENTS)
def test_a_node_needs_only_its_own_libraries(where):
    modules, blocked = ENVIRONMENTS[where]
    probe = PROBE.format(modules=modules, blocked=blocked)
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.returncode == 0, done.stderr


def test_the_package_alone_imports_nothing():
    code = "import sys; before = set(sys.modules); import hpc_astrossl; print(sorted(set(sys.modules) - before))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=PACKAGE.parent)
    assert done.stdout.strip() == "['hpc_astrossl']"


REPORT = sorted((PACKAGE / "report" / "base").glob("*.py"))


@pytest.mark.parametrize("path", REPORT, ids=lambda path: path.name)
def test_what_the_sections_of_a_report_share_imports_no_section(path):
    for name in imports(path):
        if name.startswith("hpc_astrossl.report."):
            assert name.startswith("hpc_astrossl.report.base"), f"{path.name} imports {name}"
