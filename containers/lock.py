"""Write the lock files: the pins of constraints.txt, with the SHA-256 of every file that pip may take for them.

    python containers/lock.py        # needs internet; run it after a change of constraints.txt

``requirements.lock`` holds all pins, ``preprocess.lock`` what the extra [preprocess] needs, ``cuda.lock`` the compiler
that builds Horovod with NCCL; all for Linux on x86-64 and Python 3.11 to 3.13. The sums are those of the package index;
only metadata are downloaded, and the source of a package that has no wheel.
"""

import configparser
import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

HERE = Path(__file__).parent
HEAD = "# Written by containers/lock.py from constraints.txt; installed with pip install --require-hashes --no-deps.\n"
CUDA = (
    "nvidia-cuda-nvcc==13.0.88", "nvidia-cuda-crt==13.0.88", "nvidia-nvvm==13.0.88", "nvidia-cuda-cccl==13.0.85",
    "nvidia-cuda-runtime==13.0.96", "nvidia-cuda-profiler-api==13.0.85", "nvidia-nvtx==13.0.85",
)  # fmt: skip
OTHER_PYTHONS = ("3.12", "3.13")
PLATFORMS = ("manylinux_2_28_x86_64", "manylinux_2_27_x86_64", "manylinux_2_17_x86_64", "manylinux2014_x86_64")


def by_name(lines: Iterable[str]) -> dict[str, str]:
    """Canonical name -> name==version, of lines that pin."""
    return {canonicalize_name(line.partition("==")[0]): line for line in lines if "==" in line and line[0] != "#"}


def found(wanted: list[str], *options: str) -> dict[str, tuple[str, str]]:
    """Canonical name -> (file name, SHA-256) of what pip would install; packages without such a file are left out."""
    environment = {key: value for key, value in os.environ.items() if key not in ("PIP_FIND_LINKS", "PIP_INDEX_URL")}
    environment["PIP_CONFIG_FILE"] = os.devnull  # the index that everybody has, whatever is configured here
    command = [sys.executable, "-m", "pip", "install", "--dry-run", "--quiet", "--no-deps", "--ignore-installed"]
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder, "report.json")
        while wanted:
            words = [*command, *options, "--report", str(report), *wanted]
            done = subprocess.run(words, capture_output=True, text=True, env=environment)
            if done.returncode == 0:
                break
            none = re.search(r"No matching distribution found for (\S+)", done.stderr)
            if none is None:
                sys.exit(done.stderr)
            print(f"no file of {none[1]} for {' '.join(options)}", file=sys.stderr)
            wanted = [pin for pin in wanted if pin != none[1]]
        items = json.loads(report.read_text())["install"] if wanted else []
    return {
        canonicalize_name(item["metadata"]["name"]): (
            item["download_info"]["url"].rpartition("/")[2],
            item["download_info"]["archive_info"]["hashes"]["sha256"],
        )
        for item in items
    }


def sums(wanted: dict[str, str]) -> dict[str, set[str]]:
    """Canonical name -> the SHA-256 of its files; one that is for this Python alone is looked up for the others too."""
    here = found(list(wanted.values()))
    result = {name: {digest} for name, (_, digest) in here.items()}
    special = [wanted[name] for name, (file, _) in here.items() if re.search(r"-cp3\d+-cp3\d+-", file)]
    for python in OTHER_PYTHONS:
        options = [word for platform in PLATFORMS for word in ("--platform", platform)]
        there = found(special, "--python-version", python, "--only-binary=:all:", "--target", "/nowhere", *options)
        for name, (_, digest) in there.items():
            result[name].add(digest)
    return result


def needed(extra: str) -> set[str]:
    """Canonical names of what an extra of setup.cfg needs, by the requirements of the packages installed here."""
    setup = configparser.ConfigParser()
    setup.read(HERE.parent / "setup.cfg")
    result: set[str] = set()

    waiting = [line for line in setup["options.extras_require"][extra].split("\n") if line]
    waiting += setup["options"]["install_requires"].split()
    while waiting:
        name = canonicalize_name(Requirement(waiting.pop()).name)
        if name not in result:
            result.add(name)
            needs = [Requirement(text) for text in metadata.requires(name) or ()]
            waiting += [str(need) for need in needs if not need.marker or need.marker.evaluate({"extra": ""})]
    return result


def write(file: str, wanted: dict[str, str], digests: dict[str, set[str]]) -> None:
    """A lock file in pip's own form."""
    lines = [" \\\n    ".join([pin, *(f"--hash=sha256:{digest}" for digest in sorted(digests[name]))])
             for name, pin in wanted.items()]  # fmt: skip
    (HERE / file).write_text(HEAD + "\n".join(lines) + "\n")


def main() -> None:
    """Write the files."""
    wanted, cuda = by_name((HERE / "constraints.txt").read_text().splitlines()), by_name(CUDA)
    digests, some = sums(wanted), needed("preprocess") | {"setuptools", "wheel"}
    write("requirements.lock", wanted, digests)
    write("preprocess.lock", {name: pin for name, pin in wanted.items() if name in some}, digests)
    write("cuda.lock", cuda, sums(cuda))


if __name__ == "__main__":
    main()
