"""Definitions, pins and setup.cfg agree, and Horovod's edits fit or refuse."""

import configparser
import importlib.metadata
import re
import subprocess
import sys
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

ROOT = Path(__file__).parent.parent
LINES = (ROOT / "containers/constraints.txt").read_text().splitlines()
PINS = dict(line.split("==") for line in LINES if not line.startswith("#"))


def extras():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    return {
        name: [Requirement(line) for line in text.split("\n") if line]
        for name, text in setup["options.extras_require"].items()
    }


def test_every_requirement_has_a_pin_that_satisfies_it():
    pins = {name.lower().replace("_", "-"): version for name, version in PINS.items()} | {"horovod": "0.28.1"}
    for requirements in extras().values():
        for requirement in requirements:
            name = requirement.name.lower().replace("_", "-")
            assert name in pins, f"{name} has no pin in containers/constraints.txt"
            assert requirement.specifier.contains(Version(pins[name])), requirement


def test_the_tests_run_on_the_pinned_versions():
    for name in ("torch", "torchvision", "nvidia-dali-cuda130", "numpy", "astropy", "zarr", "submitit", "simplejpeg",
                 "PyYAML"):  # fmt: skip
        assert importlib.metadata.version(name).split("+")[0] == PINS[name]


@pytest.mark.horovod
def test_the_tests_run_on_the_pinned_horovod():
    assert importlib.metadata.version("horovod") == "0.28.1"


@pytest.mark.parametrize("name", ["hpc_astrossl.def", "preprocess.def", "environment.sh"])
def test_every_extra_and_file_that_a_definition_names_exists(name):
    text = (ROOT / "containers" / name).read_text()
    named = re.findall(r"hpc_astrossl\[([a-z,]+)\]", text) + re.findall(r"extras=([a-z,]+)", text)
    assert named
    for extra in ",".join(named).split(","):
        assert extra in extras()
    for file in re.findall(r"containers/([\w.]+)", text):
        assert (ROOT / "containers" / file).exists() or file.endswith(".sif"), file


def edit(source):
    script = ROOT / "containers/horovod_edits.py"
    return subprocess.run([sys.executable, script, source], capture_output=True, text=True)


def test_horovod_s_edits_refuse_a_source_that_they_do_not_fit(tmp_path):
    (tmp_path / "CMakeLists.txt").write_text("set(CMAKE_CXX_STANDARD 17)\n")
    done = edit(tmp_path)
    assert done.returncode == 1
    assert "CMakeLists.txt holds 'set(CMAKE_CXX_STANDARD 14)' 0 times, expected 1" in done.stderr


SOURCE = {  # what the edits look for, in as few lines as will do
    "CMakeLists.txt": "set(CMAKE_CXX_STANDARD 14)\ncheck_language(CUDA)\nif(NOT CMAKE_CUDA_COMPILER)\n",
    "horovod/torch/CMakeLists.txt": "set(CMAKE_CXX_STANDARD 14)\n",
    "horovod/common/gloo/gloo_controller.cc": "  global_ranks_.reserve(size_);\n",
    "horovod/common/group_table.h": "#include <unordered_map>\n#include <vector>\n",
    "third_party/flatbuffers/include/flatbuffers/stl_emulation.h": "  const size_type count_;\n",
    "cmake/Modules/FindPytorch.cmake": 'string(TOUPPER "${Pytorch_CUDA}" Pytorch_CUDA)\n',
}


def test_horovods_edits_mend_what_newer_compilers_refuse(tmp_path):
    for name, text in SOURCE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    done = edit(tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    edited = {name: (tmp_path / name).read_text() for name in SOURCE}
    assert "#include <string>\n" in edited["horovod/common/group_table.h"]
    assert edited["third_party/flatbuffers/include/flatbuffers/stl_emulation.h"] == "  size_type count_;\n"
    assert "CMAKE_CXX_STANDARD 20" in edited["CMakeLists.txt"]
    assert "resize(size_)" in edited["horovod/common/gloo/gloo_controller.cc"]


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("cc1plus: note\nhorovod/common/group_table.h:35:47: error: 'string' in namespace 'std' does not name a type\n"
         "x\nfoo.h:1:1: error: second\n" + "pip\n" * 90 + "CalledProcessError: exit 2\n", "'string' in namespace"),
        ("a\nCMake Error at CMakeLists.txt:1 (cmake_minimum_required):\n  Compatibility with CMake < 3.5\n" + "b\n" * 9,
         "Compatibility with CMake < 3.5"),
        ("g++: fatal error: Killed signal terminated program cc1plus\nmake[2]: *** [a.o] Error 1\n", "Killed signal"),
        ("x\nld: a.o: undefined reference to `f'\ncollect2: error: ld returned 1\n", "undefined reference"),
        ("a.cc:3:1: \x1b[01;31m\x1b[Kerror: \x1b[m\x1b[Kexpected ';'\n" + "pip\n" * 30, "error: expected ';'"),
        ("nothing\nof the sort\n", "of the sort"),
    ],
)  # fmt: skip
def test_a_failed_build_shows_its_first_error(tmp_path, log, words):
    (tmp_path / "log").write_text(log)
    done = subprocess.run([ROOT / "containers/first_error.sh", tmp_path / "log"], capture_output=True, text=True)
    assert done.returncode == 0
    assert words in done.stdout
    assert len(done.stdout.splitlines()) < 21


@pytest.mark.parametrize(
    ("argument", "words"),
    [("mpi", "unknown variant 'mpi'; allowed: cpu, nccl"), ("cpu", "set PYTHON to the interpreter it is for")],
)
def test_the_build_script_says_what_is_wrong(argument, words):
    environment = {"PATH": "/usr/bin:/bin", "HOME": "/nowhere", "PYTHON": "/usr/bin/false"}
    script = ROOT / "containers/build_horovod.sh"
    done = subprocess.run([script, argument], capture_output=True, text=True, env=environment)
    assert done.returncode == 2
    assert words in done.stderr


@pytest.mark.parametrize("name", ["hpc_astrossl.def", "preprocess.def"])
def test_everything_that_a_definition_copies_or_asks_for_is_there(name):
    text = (ROOT / "containers" / name).read_text()
    copied = [line.split()[0] for line in text.partition("%files\n")[2].partition("\n\n")[0].splitlines()]
    assert {"setup.cfg", "pyproject.toml", "hpc_astrossl", "containers"} <= set(copied)
    for one in copied:
        assert (ROOT / one).exists(), one
    given = set(re.findall(r"^    (\w+)=", text.partition("%arguments\n")[2].partition("\n\n")[0], re.MULTILINE))
    assert set(re.findall(r"{{ (\w+) }}", text)) == given
    (check,) = re.findall(r"containers/check.sh (\w+)\n\n%runscript", text)
    assert check in ("train", "preprocess")
    extra = re.findall(r"hpc_astrossl\[([a-z,]+)\]", text)
    assert extra == (["train,report"] if check == "train" else ["preprocess"])


@pytest.mark.horovod
def test_the_check_of_an_image_passes_in_this_environment(tmp_path):
    """Two Horovod ranks agree, and real galaxies become a store and a run."""
    (tmp_path / "astrossl").write_text(f'#!/bin/sh\nexec {sys.executable} -m hpc_astrossl "$@"\n')
    (tmp_path / "astrossl").chmod(0o755)
    environment = {"PATH": f"{tmp_path}:{Path(sys.executable).parent}:/usr/bin:/bin", "PYTHONPATH": str(ROOT)}
    environment |= {"HOME": str(tmp_path), "TMPDIR": str(tmp_path)}
    script = ROOT / "containers/check.sh"
    done = subprocess.run([script, "train"], capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert done.returncode == 0, done.stderr + done.stdout
    assert "rank 1 of 2: sum 3, as it must be" in done.stdout
    assert "EF-2.zarr: no fault found" in done.stdout
    assert done.stdout.endswith("result.json\ncheck.sh: all of it works\n")
    wrong = subprocess.run([script, "all"], capture_output=True, text=True, env=environment)
    assert (wrong.returncode, wrong.stderr) == (2, "check.sh: unknown check 'all'; allowed: train, preprocess\n")


def locked(name):
    """Canonical name and version -> SHA-256 sums, of a lock file."""
    text = (ROOT / "containers" / name).read_text().replace("\\\n", "")
    lines = [line.split() for line in text.splitlines() if not line.startswith("#")]
    return {words[0].lower().replace("_", "-"): words[1:] for words in lines}


def test_the_lock_files_have_a_sum_for_every_pin():
    pins = {f"{name}=={version}".lower().replace("_", "-") for name, version in PINS.items()}
    assert set(locked("requirements.lock")) == pins
    assert set(locked("preprocess.lock")) < pins
    for name in ("requirements.lock", "preprocess.lock", "cuda.lock"):
        for pin, sums in locked(name).items():
            assert sums, pin
            assert all(re.fullmatch("--hash=sha256:[0-9a-f]{64}", one) for one in sums), pin


def test_the_lock_of_preprocessing_holds_what_that_needs_and_no_torch():
    names = {pin.partition("==")[0] for pin in locked("preprocess.lock")}
    assert {requirement.name.lower() for requirement in extras()["preprocess"]} <= names
    assert not {name for name in names if name.startswith(("torch", "nvidia", "horovod"))}


def test_pip_refuses_a_file_with_another_sum(tmp_path):
    """What the lock files are for, tried on a package made here."""
    (tmp_path / "pyproject.toml").write_text('[project]\nname = "tiny"\nversion = "1"\n')
    (tmp_path / "tiny.py").touch()
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    made = tmp_path / "made"
    subprocess.run([*pip, "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", made, tmp_path], check=True)
    (tmp_path / "tiny.lock").write_text(f"tiny==1 --hash=sha256:{'0' * 64}\n")
    command = [*pip, "install", "--no-deps", "--no-index", "--find-links", made, "--target", tmp_path / "site"]
    done = subprocess.run([*command, "--require-hashes", "-r", tmp_path / "tiny.lock"], capture_output=True, text=True)
    assert done.returncode != 0
    assert "THESE PACKAGES DO NOT MATCH THE HASHES" in done.stderr
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["environment.sh", "build_horovod.sh", "hpc_astrossl.def", "preprocess.def"])
def test_everything_that_is_fetched_is_held_against_a_sum(name):
    """What is installed without sums is this project, its Horovod wheel, or said to be so."""
    text = (ROOT / "containers" / name).read_text().replace("\\\n", "")
    fetched = [line.strip() for line in text.splitlines() if re.search(r"pip (install|download)|-m pip wheel", line)]
    assert fetched
    ours = ("$wheel", "build_horovod.sh", "$root[", "/opt/hpc_astrossl[", "$source")
    unheld = [line for line in fetched if "--require-hashes" not in line and not any(word in line for word in ours)]
    allowed = ["-c", "torchvision"] if name == "environment.sh" else []  # systems without sums, which it tells of
    assert len(unheld) == bool(allowed)
    assert all(word in line for line in unheld for word in allowed)
