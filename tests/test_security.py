"""No one is let in: what the code may not call, what files cannot make it run, and what it tells and leaves nowhere."""

import ast
import hashlib
import json
import os
import pickletools
import shlex
import subprocess
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import pytest
import torch
from faults.bad_weights import Code
from hypothesis import given, settings
from launch_support import CHECKOUT, astrossl
from run_folders import write_study
from training_toys import make_store

from hpc_astrossl import config
from hpc_astrossl.errors import TrainingError
from hpc_astrossl.launch import executors, exposure, gaps
from hpc_astrossl.launch.plan import Stage
from hpc_astrossl.report.page import write_report
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import Resources
from hpc_astrossl.training.checkpoint import Checkpoints

SOURCES = sorted((CHECKOUT / "hpc_astrossl").rglob("*.py"))
EVIL = '<script>alert("x")</script>\\input{/etc/passwd}'
SECRET = "a-secret-of-this-shell-5f3c"
# Dotted name of a call -> why it is not to be found in the package.
FORBIDDEN = {
    **dict.fromkeys(("eval", "exec", "compile", "__import__"), "runs text as code"),
    **dict.fromkeys(("os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"), "starts a shell"),
    **dict.fromkeys(("yaml.full_load", "yaml.unsafe_load", "yaml.load_all", "yaml.safe_load"), "reads other YAML"),
    **dict.fromkeys(("pickle.load", "pickle.loads", "pickle.Unpickler", "dill.load", "dill.loads", "joblib.load",
                     "cloudpickle.load", "cloudpickle.loads", "marshal.load", "marshal.loads", "shelve.open",
                     "pandas.read_pickle"), "runs code of a file"),
    "tempfile.mktemp": "names a file that another can make first",
}  # fmt: skip


def dotted(node: ast.expr) -> str:
    """``a.b.c`` of a call's function."""
    return f"{dotted(node.value)}.{node.attr}" if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def faults(text: str) -> list[str]:
    """The calls of a source that could let others in."""
    found = []
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        name, options = dotted(call.func), {word.arg: ast.unparse(word.value) for word in call.keywords}
        if name in FORBIDDEN:
            found.append(f"{name}: {FORBIDDEN[name]}")
        if options.get("shell", "False") != "False":
            found.append(f"{name} with shell={options['shell']}: starts a shell")
        if name in ("np.load", "numpy.load") and options.get("allow_pickle") != "False":
            found.append("np.load without allow_pickle=False")
        if name == "torch.load" and options.get("weights_only") != "True":
            found.append("torch.load without weights_only=True")
        if name == "yaml.load" and options.get("Loader") != "_Loader":
            found.append("yaml.load without the safe dialect")
    return found


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(CHECKOUT)))
def test_nothing_in_the_package_runs_what_it_reads(path):
    assert faults(path.read_text()) == []


@pytest.mark.parametrize("text", [
    "eval(x)", "os.system('ls')", "subprocess.run('ls', shell=True)", "yaml.load(text)", "yaml.load(t, Loader=Loader)",
    "np.load(path)", "np.load(path, allow_pickle=True)", "torch.load(p)", "torch.load(p, weights_only=False)",
    "pickle.loads(data)", "yaml.unsafe_load(t)",
])  # fmt: skip
def test_what_is_forbidden_is_found(text):
    assert len(faults(text)) == 1


def test_there_is_one_reader_of_yaml_and_it_builds_nothing():
    readers = [path.name for path in SOURCES if "yaml.load(" in path.read_text()]
    assert readers == ["config.py"]
    assert not [key for key in config._Loader.yaml_multi_constructors if key]


def test_a_checkpoint_with_code_is_refused_and_not_run(tmp_path, monkeypatch):
    """Also where whoever made it has written the SHA-256 beside it as well."""
    monkeypatch.chdir(tmp_path)
    checkpoints = Checkpoints(tmp_path / "checkpoint", print)
    checkpoints.save((1, 0), {"net": torch.zeros(2)})
    (file,) = (tmp_path / "checkpoint").glob("*.pt")
    torch.save({"net": Code()}, file)
    file.with_name(file.name + ".sha256").write_text(hashlib.sha256(file.read_bytes()).hexdigest())
    with pytest.raises(TrainingError, match=r"not a checkpoint of this program, .*nothing in it was run"):
        checkpoints.load(checkpoints.newest())
    assert not (tmp_path / "was-here").exists()


@pytest.fixture(scope="module")
def report(tmp_path_factory) -> Path:
    """A report on a study whose class names, object ids and predictions would like to be programs."""
    work = tmp_path_factory.mktemp("work")
    write_study(work / "study", sets=("SG",), seeds=(0, 1), sizes=(None,), schemes=("scratch", "features-imagenet"))
    for path in (work / "study").glob("SG_*/result.json"):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"class_names": [EVIL, f"{EVIL}="]}))
        for name in ("predictions", "cutouts", "features"):
            with np.load(path.with_name(f"{name}.npz"), allow_pickle=False) as archive:
                arrays = dict(archive)
            arrays["object_id"] = np.array([f"{EVIL}{one}" for one in arrays["object_id"]])
            np.savez(path.with_name(f"{name}.npz"), **arrays)
    return write_report(work / "study", work / "out")


def test_ids_and_class_names_are_shown_not_run(report):
    text = report.read_text()
    assert "<script>alert(" not in text
    assert "&lt;script&gt;alert(&#34;x&#34;)&lt;/script&gt;" in text
    assert "SG-00" in text  # objects were listed


def test_latex_tables_read_no_file(report):
    tables = [path.read_text() for path in (report.parent / "tables").glob("*.tex")]
    assert tables
    assert any("textbackslash" in table for table in tables)
    assert not any("\\input{" in table for table in tables)


def test_a_pickle_for_the_report_is_named_and_not_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_study(tmp_path / "study", sets=("SG",), seeds=(0,), sizes=(None,), schemes=("scratch",))
    for path in (tmp_path / "study").glob("SG_*/predictions.npz"):
        np.savez(path, object_id=np.array([Code()], dtype=object), split=["test"], truth=[0], output=[[1.0, 0.0]])
    text = write_report(tmp_path / "study", tmp_path / "out").read_text()
    assert "predictions.npz cannot be read" in text
    assert not (tmp_path / "was-here").exists()


class TestFoldersThatOthersCanChange:
    """Jobs run what lies in the experiment's folder, so whoever can write there runs it with the user's rights."""

    @pytest.fixture
    def folder(self, tmp_path):
        made = tmp_path / "work" / "runs"
        made.mkdir(parents=True, mode=0o755)
        (tmp_path / "work").chmod(0o755)
        return made

    def test_ones_own_are_silent(self, folder):
        assert exposure.exposed(folder) == []

    @pytest.mark.parametrize(("mode", "who"), [(0o777, "everybody"), (0o757, "everybody"), (0o775, "the group")])
    @pytest.mark.parametrize("which", ["runs", "work"])
    def test_each_is_named_with_the_remedy(self, folder, mode, who, which, monkeypatch):
        monkeypatch.setattr(exposure, "_own_group", lambda number: False)
        place = folder if which == "runs" else folder.parent
        place.chmod(mode)
        (warning,) = exposure.exposed(folder)
        assert warning.startswith(f"warning: {place} can be written to by {who}")
        assert warning.endswith(f"chmod go-w {place}")

    def test_a_sticky_folder_above_is_safe_and_one_of_the_jobs_is_not(self, folder):
        folder.parent.chmod(0o1777)
        assert exposure.exposed(folder) == []
        folder.chmod(0o1777)
        assert len(exposure.exposed(folder)) == 1

    @pytest.mark.skipif(os.getuid() != 0, reason="only root can give folders away")
    def test_a_folder_of_another_user_is_named(self, folder):
        os.chown(folder.parent, 65534, 65534)
        (warning,) = exposure.exposed(folder)
        assert "can be written to by its owner, nobody" in warning
        assert warning.endswith("work in a folder of your own")


words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=30)
lines = words.filter(str.isprintable)
some = settings(max_examples=25, derandomize=True, deadline=None, database=None)


@some
@given(words)
def test_any_variable_of_a_cluster_file_stays_literal_in_bash(value):
    script = "\n".join([*gaps.exports({"GREETING": value}), 'printf %s "$GREETING"'])
    assert subprocess.run(["bash", "-c", script], capture_output=True, check=True).stdout == value.encode()


@some
@given(account=lines, comment=lines)
def test_any_account_and_option_is_one_line_of_the_batch_script(account, comment):
    cluster = ClusterSpec(kind="slurm", account=account, sbatch={"comment": comment})
    stage = Stage(name="scratch", items=(), resources=Resources())
    options = executors.slurm_options("toys.scratch", stage, cluster, Path("/logs"), after="", arrays=1)
    text = executors.script(1, Path("/logs"), options)
    directives = [line.removeprefix("#SBATCH ") for line in text.split("\n") if line.startswith("#SBATCH ")]
    assert [f"--account={account}"] in [shlex.split(line) for line in directives]
    assert [f"--comment={comment}"] in [shlex.split(line) for line in directives]


JOBS = """\
experiment: toys
sets: {toy: {store: toy}}
schemes: [scratch]
seeds: [0]
report: false
overrides: {all: {phases: [{trains: head, optimizer: adam, learning_rate: 0.001, epochs: 1}], model: {hidden: 8}}}
"""


@pytest.fixture(scope="module")
def submitted(tmp_path_factory):
    """(work directory, process) of an experiment submitted by a shell with a secret in its environment, umask 0."""
    workdir = tmp_path_factory.mktemp("submitted")
    make_store(workdir / "toy")
    (workdir / "toys.yaml").write_text(JOBS)
    before = os.umask(0)
    try:
        done = astrossl("submit", "toys.yaml", "--cluster", "local", cwd=workdir, API_TOKEN=SECRET, OMP_NUM_THREADS="1")
    finally:
        os.umask(before)
    assert done.returncode == 0, done.stderr
    return workdir, done


def test_no_secret_of_the_environment_is_left_anywhere(submitted):
    workdir, _ = submitted
    files = [path for path in workdir.rglob("*") if path.is_file()]
    assert {"result.json", "config.yaml", "jobs.jsonl"} <= {path.name for path in files}
    assert any(path.suffix == ".pkl" for path in files)
    assert [path for path in files if SECRET.encode() in path.read_bytes()] == []


def test_only_the_user_writes_where_jobs_read(submitted):
    workdir, done = submitted
    tasks = workdir / "runs" / "toys" / ".tasks"
    assert [path for path in (tasks, tasks / "logs") if path.stat().st_mode & 0o022] == []
    assert f"warning: {tasks.parent} can be written to by everybody" in done.stderr


def test_pickles_for_jobs_hold_a_path_and_nothing_else(submitted):
    """What submitit writes is looked at opcode by opcode: names of classes of ours and submitit's, no other calls."""
    workdir, _ = submitted
    for path in workdir.rglob("*_submitted.pkl"):
        names = [value for opcode, value, _ in pickletools.genops(path.read_bytes()) if opcode.name.endswith("UNICODE")]
        assert "hpc_astrossl.launch.task" in names
        assert [name for name in names if name.endswith(".yaml")]
