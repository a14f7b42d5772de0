"""The verb ``doctor``: what works on this machine, found by trying it, and what to do about the rest."""

import importlib
import importlib.metadata
import json
import os
import platform
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import asdict, dataclass

from hpc_astrossl import __version__, cache, cli, names


@dataclass(frozen=True)
class Finding:
    """One line of the examination: ``works`` is None for a plain fact."""

    name: str
    works: bool | None
    detail: str
    remedy: str = ""


def add(verbs) -> None:
    """Add the verb ``doctor``."""
    verb = cli.add_verb(
        verbs,
        "doctor",
        about="tell what works here: Python, torch, CUDA, DALI, Horovod, Slurm, Apptainer, weights, disk",
        example="astrossl doctor --json",
        handler=_doctor,
    )
    verb.add_argument(
        "--cluster", metavar="NAME", help="ask the Slurm of this login node what that cluster file must say"
    )
    verb.add_argument("--json", action="store_true", help="one JSON object instead of the table")


def _doctor(arguments) -> None:
    findings = list(_site(arguments.cluster) if arguments.cluster else examine())
    if arguments.json:
        print(json.dumps(_by_name(findings), indent=1))
        return
    width = max(len(finding.name) for finding in findings)
    for finding in findings:
        mark = {True: "works", False: "—", None: ""}[finding.works]
        print(f"{finding.name:<{width}}  {mark:<5}  {finding.detail}")
        if finding.remedy and (not finding.works or arguments.cluster):
            print(f"{'':<{width}}         → {finding.remedy}")


def _by_name(findings: Iterable[Finding]) -> dict[str, dict]:
    """Each finding by its name; of several of one name the later ones are "NAME (2)" and so on."""
    found: dict[str, dict] = {}
    for finding in findings:
        same = sum(one["name"] == finding.name for one in found.values())
        found[f"{finding.name} ({same + 1})" if same else finding.name] = asdict(finding)
    return found


def _site(name: str) -> Iterator[Finding]:
    """What the Slurm of a cluster file says."""
    from hpc_astrossl.errors import InputError
    from hpc_astrossl.launch.examine import examine as ask
    from hpc_astrossl.launch.prepare import find_cluster

    cluster = find_cluster(name)
    if cluster.kind != "slurm":
        raise InputError(
            f"cluster {name} is of kind {cluster.kind}: there is no Slurm to ask; astrossl doctor says what works here"
        )
    for fact in ask(cluster):
        yield Finding(fact.name, fact.works, fact.detail, fact.advice)


def examine() -> Iterator[Finding]:
    """Every finding, in the order of a run: the machine, reading, training, submitting."""
    yield Finding("hpc_astrossl", None, f"{__version__}, Python {platform.python_version()} at {sys.executable}")
    disk = shutil.disk_usage(".")
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    cores = len(os.sched_getaffinity(0))
    yield Finding(
        "machine",
        None,
        f"{cores} cores, {memory / 2**30:.0f} GiB memory, {disk.free / 2**30:.0f} GiB free on this disk",
    )
    yield _library("zarr", "preprocess")
    yield _library("astropy", "preprocess")
    yield _try("torch", _torch, "pip install 'hpc_astrossl[train]'")
    yield _try("GPU", _gpu, "none here: everything runs on the CPU")
    yield _try("DALI", _dali, "pip install 'hpc_astrossl[train]'")
    yield _try("loader", _loader, "pip install 'hpc_astrossl[train]'")
    yield _try("Horovod", _horovod, "containers/build_horovod.sh cpu (or nccl), then pip install the wheel it prints")
    yield _library("galsim", "simulate")
    yield _library("matplotlib", "report")
    yield _library("submitit", "submit")
    yield _try("Slurm", _slurm, "not a Slurm login node; --cluster local runs the same plan here")
    yield _try("Apptainer", lambda: _output("apptainer", "--version"), "only needed to build or run the containers")
    weights = cache.found_weights(names.IMAGENET)
    half = " (half precision, shipped)" if weights and weights.parent == cache.BUNDLED_FOLDER else ""
    yield Finding(
        "ImageNet weights",
        weights is not None,
        f"{weights}{half}" if weights else "not here; the ImageNet schemes are skipped",
        f"astrossl weights fetch {names.IMAGENET}, or astrossl weights add FILE",
    )


def _try(name: str, probe: Callable[[], str], remedy: str) -> Finding:
    try:
        return Finding(name, True, probe())
    except Exception as error:  # whatever a broken installation raises is the finding
        return Finding(name, False, " ".join(str(error).split())[:200], remedy)


def _library(name: str, extra: str) -> Finding:
    def probe() -> str:
        importlib.import_module(name)
        return importlib.metadata.version(name)

    return _try(name, probe, f"pip install 'hpc_astrossl[{extra}]'")


def _output(program: str, *options: str) -> str:
    """What a program prints; an error that says why it does not."""
    if shutil.which(program) is None:
        raise FileNotFoundError(f"{program} is not on the PATH")
    done = subprocess.run([program, *options], capture_output=True, text=True, timeout=20)
    if done.returncode:
        raise RuntimeError(done.stderr.strip() or f"{program} ended with status {done.returncode}")
    return done.stdout.strip()


def _slurm() -> str:
    partitions = _output("sinfo", "--noheader", "--format", "%P").split()
    return f"{_output('sinfo', '--version')}, partitions {', '.join(partitions)}"


def _torch() -> str:
    import torch

    from hpc_astrossl.nets import vgg

    (torch.ones(8, 8) @ torch.ones(8, 8)).sum().item()
    slow = vgg.emulated("bfloat16", torch.device("cpu"))
    low = "emulated, many times slower than float32" if slow else "native"
    return f"{torch.__version__}, {torch.get_num_threads()} threads, bfloat16 on the CPU is {low}"


def _gpu() -> str:
    import torch

    if not torch.cuda.is_available():
        raise RuntimeError("torch sees no GPU")
    torch.ones(8, device="cuda").sum().item()
    return ", ".join(torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count()))


def _dali() -> str:
    import numpy as np
    from nvidia import dali

    @dali.pipeline_def(batch_size=2, num_threads=1, device_id=None)
    def probe():
        return dali.fn.flip(dali.fn.external_source(lambda: [np.zeros((4, 4, 3), np.uint8)] * 2), horizontal=1)

    pipeline = probe()
    pipeline.run()
    return f"{dali.__version__}, a pipeline ran on the CPU"


def _loader() -> str:
    import torch

    from hpc_astrossl.loading import choice

    if torch.cuda.is_available():
        return f"{choice.ON_GPU[0]}: {choice.ON_GPU[1]}"
    (arrays, why), (encoded, other) = choice.ARRAYS, choice.ENCODED
    return f"{arrays}: {why}; {encoded}: {other}"


def _horovod() -> str:
    import horovod
    import horovod.torch as hvd

    built = [name for name, there in (("Gloo", hvd.gloo_built()), ("NCCL", hvd.nccl_built())) if there]
    return f"{horovod.__version__}, built with {' and '.join(built)}"
