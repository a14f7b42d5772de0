"""What sites do to Slurm's commands: wrappers, filters, silence, options forbidden or wanted. Real jobs, with shims."""

import json
import os
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from slurm_support import Slurm, site

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(900)]
RECIPE = """\
experiment: toys
sets:
  toy: {store: stores/toy.zarr}
schemes: [scratch]
seeds: [0, 1]
overrides:
  all:
    data: {batch_size: 8}
    model: {hidden: 16}
    phases:
      - {trains: head, optimizer: adam, learning_rate: 1e-3, epochs: 2}
report: false
"""


@pytest.fixture
def workdir(workdir) -> Path:
    """Holds a recipe, too."""
    (workdir / "toys.yaml").write_text(RECIPE)
    return workdir


class Site:
    """A login node whose commands are wrapped: ``real NAME`` in a shim is the command of that name itself."""

    def __init__(self, slurm: Slurm, workdir: Path, **cluster: object):
        self.slurm, self.workdir, self.bin = slurm, workdir, workdir / "bin"
        self.bin.mkdir()
        site(workdir, **cluster)

    def shim(self, name: str, text: str) -> None:
        """Put a script before the command of that name; ``$real`` is the command itself."""
        real = shutil.which(name, path=self.slurm.environment["PATH"])
        (self.bin / name).write_text(f"#!/bin/bash\nreal={real}\n{text}\n")
        (self.bin / name).chmod(0o755)

    def mend(self, name: str) -> None:
        (self.bin / name).unlink()

    def astrossl(self, *arguments: str, **variables: str):
        from launch_support import astrossl

        environment = self.slurm.environment | variables
        path = f"{self.bin}:{environment['PATH']}"
        return astrossl(*arguments, cwd=self.workdir, **{**environment, "PATH": path})

    def submit(self, **variables: str):
        return self.astrossl("submit", "toys.yaml", "--cluster", "site.yaml", **variables)

    def told(self, **variables: str) -> dict:
        """What status tells: state, reason and job of every item."""
        done = self.astrossl("status", "toys", "--json", **variables)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def states(self, **variables: str) -> set[str]:
        return {item["state"] for item in self.told(**variables)["items"]}

    def sent(self) -> list[str]:
        """The ids of all jobs and arrays that this folder has sent, by their batch scripts in the queue."""
        lines = self.slurm.ask("squeue", "--all", "--noheader", "--states=all", "--format=%F|%o").splitlines()
        return sorted({line.split("|")[0] for line in lines if f"|{self.workdir}/" in line}, key=int)

    def held(self) -> None:
        """From now on jobs wait in the queue."""
        self._partitions("down")

    def free(self) -> None:
        self._partitions("up")

    def _partitions(self, state: str) -> None:
        for name in ("debug", "urgent"):
            self.slurm.ask("scontrol", "update", f"partitionname={name}", f"state={state}")


@pytest.fixture
def held(slurm, workdir) -> Iterator[Site]:
    """A site on which nothing starts until it is freed."""
    one = Site(slurm, workdir)
    one.held()
    yield one
    one.free()


@pytest.mark.parametrize(
    "wrapper",
    [
        'echo "Note: your job 17 of 500 allowed"; $real "$@"; echo "see job 4711 for help"',
        'echo "your last job 4711" >&2; $real "$@"',
        '$real --parsable "$@"',
        r'printf "Universit\xe4t: job 3\n"; $real "$@"; printf "\xff\n" >&2',
        'echo "500"; $real --parsable "$@"; echo "12"',
        '$real --quiet "$@"',
        '$real "$@" --comment=site/a',  # which Slurm takes for an argument of the script
        'echo "sbatch: no partition specified, using default partition m100_all_serial"; $real "$@"',
        '$real "$@"; echo "sbatch: error: Socket timed out on send/recv operation" >&2; exit 1',
        '$real "$@" > /dev/null; echo "sbatch: error: Batch job submission failed: Socket timed out" >&2; exit 1',
        '$real "$@" > /dev/null; kill -9 $$',
    ],
    ids=["note", "warning", "parsable", "latin", "noise", "quiet", "arguments", "default", "timeout-said", "timeout",
         "killed"],
)  # fmt: skip
def test_a_job_is_known_by_its_own_line_or_by_its_script(held, wrapper):
    held.shim("sbatch", wrapper)
    done = held.submit()
    assert done.returncode == 0, done.stderr
    (job,) = held.sent()
    assert f"scratch: job {job}, 2 tasks" in done.stdout
    assert {item["job"] for item in held.told()["items"]} == {f"{job}_0", f"{job}_1"}
    held.mend("sbatch")
    assert "2 queued or running, 0 to submit" in held.submit().stdout
    assert held.sent() == [job]
    if "submission failed" in wrapper:  # taken up by its script: its tasks find what they are to do
        held.free()
        held.slurm.settle()
        assert held.states() == {"done"}


def test_an_sbatch_that_stalls_after_it_was_obeyed(held):
    held.shim("sbatch", '$real "$@"; sleep 100')
    done = held.submit(ASTROSSL_SLURM_PATIENCE="5")
    assert done.returncode == 0, done.stderr
    assert len(held.sent()) == 1
    assert held.states() == {"queued"}


def test_what_sbatch_did_is_not_known_while_the_queue_is_silent(held):
    held.shim("sbatch", '$real "$@" > /dev/null; echo "Socket timed out on send/recv operation" >&2; exit 1')
    held.shim("squeue", 'echo "slurm_load_jobs error: Socket timed out on send/recv operation" >&2; exit 1')
    done = held.submit()
    assert done.returncode == 2
    assert "sbatch gave no clear answer" in done.stderr
    assert "Nothing more was sent" in done.stderr
    (job,) = held.sent()
    assert held.states() == {"unknown"}
    again = held.submit()
    assert again.returncode == 2
    assert held.sent() == [job]
    held.mend("squeue")
    assert held.states() == {"queued"}
    done = held.submit()
    assert (done.returncode, held.sent()) == (0, [job])
    assert "2 queued or running, 0 to submit" in done.stdout
    held.free()
    held.slurm.settle()
    assert held.states() == {"done"}


def test_cancel_reaches_a_job_that_sbatch_did_not_own_up_to(held):
    held.shim("sbatch", '$real "$@" > /dev/null; echo "Socket timed out" >&2; exit 1')
    held.shim("squeue", "exit 1")
    assert held.submit().returncode == 2
    held.mend("squeue")
    (job,) = held.sent()
    assert held.astrossl("cancel", "toys").stdout == f"cancelled {job}\n"
    assert {held.slurm.jobs()[f"{job}_{n}"] for n in (0, 1)} == {"CANCELLED"}
    assert held.states() == {"new"}


def test_a_living_job_that_no_ledger_knows_is_named_and_nothing_is_sent_beside_it(held):
    assert held.submit().returncode == 0
    (job,) = held.sent()
    (held.workdir / "runs/toys/.tasks/jobs.jsonl").write_text(
        '{"kind": "cancelled"}\n{"kind": "slurm", "job": "999999"}\n'
    )
    done = held.submit()
    assert done.returncode == 2
    assert f"jobs of this experiment that its ledger does not know: {job} (toys.scratch)" in done.stderr
    assert held.sent() == [job]
    assert held.astrossl("cancel", "toys").stdout == f"cancelled {job}\n"


def test_a_refusal_is_told_in_the_sites_words_and_leaves_nothing(held):
    held.shim("sbatch", 'echo "sbatch: error: --mem is not permitted on this system" >&2; exit 1')
    done = held.submit()
    assert done.returncode == 2
    assert "sbatch refused the job: sbatch: error: --mem is not permitted on this system" in done.stderr
    assert held.states() == {"new"}
    logs = held.workdir / "runs/toys/.tasks/logs"
    assert [path.name for path in logs.iterdir()] == []


def test_hidden_partitions_lists_of_them_and_the_shells_own_filters(slurm, workdir):
    one = Site(slurm, workdir, partition="urgent,debug")
    one.held()
    try:
        slurm.ask("scontrol", "update", "partitionname=urgent", "hidden=yes")
        filters = {"SQUEUE_PARTITION": "nowhere", "SQUEUE_LICENSES": "x", "SINFO_PARTITION": "x", "SQUEUE_STATES": "R",
                   "SACCT_FORMAT": "User", "SQUEUE_FORMAT": "%u", "SCANCEL_PARTITION": "nowhere"}  # fmt: skip
        done = one.submit(**filters)
        assert done.returncode == 0, done.stderr
        assert one.states(**filters) == {"queued"}
        assert "0 to submit" in one.submit(**filters).stdout
        (job,) = one.sent()
        assert one.astrossl("cancel", "toys", **filters).stdout == f"cancelled {job}_0, {job}_1\n"
        # An array all of whose waiting elements were cancelled one by one is one row of the queue.
        assert {state for name, state in slurm.jobs().items() if name.partition("_")[0] == job} == {"CANCELLED"}
        assert one.states() == {"new"}
    finally:
        slurm.ask("scontrol", "update", "partitionname=urgent", "hidden=no")
        one.free()


def test_the_shells_account_and_partition_are_taken_or_named(slurm, workdir):
    shell = {"SBATCH_ACCOUNT": "prof", "SBATCH_PARTITION": "urgent", "SBATCH_TIMELIMIT": "1"}
    one = Site(slurm, workdir)
    one.held()
    try:
        done = one.submit(**shell)
        assert done.returncode == 0, done.stderr
        assert "account prof: from SBATCH_ACCOUNT of this shell" in done.stderr
        assert "SBATCH_PARTITION=urgent of this shell is not used: the cluster file says partition debug" in done.stderr
        assert "SBATCH_TIMELIMIT of this shell is not used" in done.stderr
        (job,) = one.sent()
        shown = slurm.ask("squeue", "--noheader", f"--jobs={job}", "--format=%a|%P|%l").split()
        assert set(shown) == {"prof|debug|5:00"}
        refused = one.submit(SLURM_CLUSTERS="other")
        assert refused.returncode == 2
        assert "SLURM_CLUSTERS=other of this shell sends jobs to another cluster" in refused.stderr
    finally:
        one.free()


WANTED = {
    "no --mem": ({"resources": {"all": {"memory_gb": None}}}, {"mem"}, ""),
    "none": ({"memory": "none"}, {"mem"}, ""),
    "by cpu": ({"memory": "cpu"}, {"mem"}, "--mem-per-cpu=1024M"),
    "own": ({"sbatch": {"mem-per-cpu": "512M"}}, {"mem"}, "--mem-per-cpu=512M"),
    "export": ({"sbatch": {"export": "NONE"}}, set(), "--export=NONE"),
    "flag": ({"sbatch": {"exclusive": True, "requeue": False}}, {"requeue"}, "--exclusive"),
    "licence": ({"sbatch": {"licenses": "matlab:1", "reservation": "school"}}, set(), "--reservation=school"),
}


@pytest.mark.parametrize("name", WANTED)
def test_the_script_says_what_the_site_wants(slurm, workdir, name):
    change, without, line = WANTED[name]
    one = Site(slurm, workdir, **change)
    printed = one.astrossl("submit", "toys.yaml", "--cluster", "site.yaml", "--dry-run")
    assert printed.returncode == 0, printed.stderr
    options = dict(re.findall(r"^#SBATCH --([a-z-]+)=?(.*)$", printed.stdout, re.MULTILINE))
    assert not without & options.keys()
    assert f"#SBATCH {line}" in printed.stdout.splitlines() or not line


@pytest.mark.parametrize("name", ["no --mem", "by cpu", "own", "export"])
def test_and_slurm_runs_it_so(slurm, workdir, name):
    change, *_ = WANTED[name]
    change = {"environment": {"PYTHONPATH": str(Path(__file__).parent.parent)}, **change}
    one = Site(slurm, workdir, **change)
    one.shim("sbatch", 'grep -q -- "#SBATCH --mem=" "$1" && { echo "--mem is not permitted" >&2; exit 1; }; $real "$@"'
             if name == "no --mem" else '$real "$@"')  # fmt: skip
    done = one.submit()
    assert done.returncode == 0, done.stderr
    if name == "export" and os.getuid():
        _skip_without_environment(slurm, one)
    slurm.settle()
    assert one.states() == {"done"}, one.told()


def _skip_without_environment(slurm, one):
    """With --export=NONE slurmd asks su for the user's environment, which it may as root alone; newer ones hold the
    job then."""
    unasked = "user env retrieval failed"
    slurm.wait(lambda: unasked in slurm.ask("squeue") or not slurm.ask("squeue", "--noheader"), 120, "it runs")
    if unasked in slurm.ask("squeue"):
        slurm.ask("scancel", *one.sent())
        pytest.skip("a slurmd of an ordinary user cannot fetch an environment, and this one holds the job for that")


@pytest.mark.parametrize("failing", ["exit 1", "echo 'Connection refused' >&2; exit 1", "sleep 60", ":"])
def test_a_squeue_that_does_not_answer_leaves_what_is_unknown_unknown(held, failing):
    assert held.submit().returncode == 0
    (job,) = held.sent()
    held.shim("squeue", failing)
    patience = {"ASTROSSL_SLURM_PATIENCE": "2"}
    assert held.states(**patience) == {"unknown"}
    for verb in (("submit", "toys.yaml", "--cluster", "site.yaml"), ("cancel", "toys")):
        done = held.astrossl(*verb, **patience)
        assert done.returncode == 2
        assert "squeue" in done.stderr
    assert held.sent() == [job]


def test_a_list_without_the_jobs_is_not_believed_alone(held):
    """Half of the rows, or none of them under the heading: asked for by name, squeue tells of the job."""
    assert held.submit().returncode == 0
    (job,) = held.sent()
    held.shim("squeue", 'case " $* " in *" --me "*) $real "$@" | head -n 1;; *) $real "$@";; esac')
    assert held.states() == {"queued"}
    assert "2 queued or running, 0 to submit" in held.submit().stdout
    assert held.sent() == [job]


@pytest.mark.parametrize("sacct", ["sleep 3", "exit 1", "echo 'X|'; echo '|'; echo; echo '1_[0-1%2]|CANCELLED by 0'"])
def test_status_lives_with_any_sacct(slurm, workdir, sacct):
    one = Site(slurm, workdir)
    assert one.submit().returncode == 0
    slurm.settle()
    shutil.rmtree(next(workdir.glob("runs/toys/toy_scratch_nall_s0-*")))
    ledger = workdir / "runs/toys/.tasks/jobs.jsonl"
    ledger.write_text(re.sub(r'"job": "\d+', '"job": "999999', ledger.read_text()))
    one.shim("sacct", sacct)
    states = {item["state"]: item["reason"] for item in one.told(ASTROSSL_SLURM_PATIENCE="2")["items"]}
    assert states.keys() == {"done", "failed"}


def test_arrays_turned_off(slurm, workdir):
    one = Site(slurm, workdir)
    one.shim("scontrol", '$real "$@" | sed "s/^MaxArraySize .*/MaxArraySize = 0/"')
    one.shim(
        "sbatch", 'grep -q -- "--array" "$1" && { echo "Invalid job array specification" >&2; exit 1; }; $real "$@"'
    )
    done = one.submit()
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("scratch: job ") == 2
    slurm.settle()
    assert one.states() == {"done"}
    one.mend("scontrol")
    shutil.rmtree(workdir / "runs")
    refused = one.submit()
    assert refused.returncode == 2
    assert "set max_array in the cluster file" in refused.stderr


def test_a_controller_that_was_away_between_two_arrays(slurm, workdir):
    (workdir / "toys.yaml").write_text(RECIPE.replace("schemes: [scratch]", "schemes: [scratch, features-imagenet]"))
    one = Site(slurm, workdir, max_array=1)
    count = workdir / "count"
    one.shim("sbatch", f'echo >> {count}; [ "$(wc -l < {count})" -lt 2 ] && exec $real "$@"; '
             'echo "sbatch: error: Unable to contact slurm controller (connect failure)" >&2; exit 1')  # fmt: skip
    done = one.submit()
    assert done.returncode == 2
    assert "Unable to contact slurm controller" in done.stderr
    one.mend("sbatch")
    assert one.submit().returncode == 0
    assert len(one.sent()) == 4  # every run once
    slurm.settle()
    assert one.states() == {"done"}


@pytest.mark.parametrize("lost", ["squeue", "squeue scontrol"])
def test_a_node_without_slurms_commands(slurm, workdir, lost):
    """A kill costs one start where the node can requeue, and words where it cannot."""
    import signal

    path = workdir / "node"
    path.mkdir()
    for folder in ("/usr/bin", "/bin"):
        for program in Path(folder).iterdir():
            if program.name not in {"squeue", *lost.split()} and not (path / program.name).exists():
                (path / program.name).symlink_to(program)
    (workdir / "toys.yaml").write_text(RECIPE.replace("epochs: 2}", "epochs: 400}").replace("[0, 1]", "[0]"))
    one = Site(slurm, workdir, setup=[f"export PATH={path}"])
    assert one.submit().returncode == 0
    slurm.wait(lambda: any(workdir.glob("runs/toys/*/checkpoint/*")), 90, "the run trains")
    os.kill(slurm.processes(str(workdir))[0], signal.SIGKILL)
    slurm.settle()
    (item,) = one.told()["items"]
    if "scontrol" in lost:
        assert item["state"] == "failed"
        assert "its node could not have it requeued" in item["reason"]
        one.slurm.ask("true")
    else:
        assert (item["state"], item["starts"]) == ("done", 2)


@pytest.mark.parametrize(
    ("python", "words"),
    [("/opt/nowhere/python3", "/opt/nowhere/python3: No such file or directory"),
     (f"/usr/bin/env -i {sys.executable} -S", "No module named submitit"),
     ("sh -c 'echo the reason >&2; exit 3' --", "the reason")],
)  # fmt: skip
def test_why_a_task_never_began_is_told_by_the_line_that_says_it(slurm, workdir, python, words):
    one = Site(slurm, workdir, python=python)
    assert one.submit().returncode == 0
    slurm.settle()
    for item in one.told()["items"]:
        assert item["state"] == "failed"
        assert words in item["reason"].replace("'", "").replace("submitit.core", "submitit")


def test_doctor_asks_the_site_what_the_cluster_file_must_say(slurm, workdir):
    one = Site(slurm, workdir, partition="debug,nowhere", gpus_per_node=4)
    told = one.astrossl("doctor", "--cluster", "site.yaml", "--json", SBATCH_ACCOUNT="prof")
    assert told.returncode == 0, told.stderr
    found = json.loads(told.stdout)
    assert found["arrays"]["remedy"] == "max_array: 7"
    assert found["partition debug"]["works"] is True
    assert found["partition"]["detail"] == "nowhere: not among debug, urgent"
    assert found["GPUs"]["remedy"] == "gpus_per_node: 0"
    assert "account prof: from SBATCH_ACCOUNT" in found["shell"]["detail"]
    assert found["a job"]["works"] is False
    site(workdir)
    one.shim("sbatch", 'echo "sbatch: error: --mem is not permitted here" >&2; exit 1')
    found = json.loads(one.astrossl("doctor", "--cluster", "site.yaml", "--json").stdout)
    assert found["a job"]["remedy"].startswith("memory: none  # or cpu")
    one.mend("sbatch")
    assert json.loads(one.astrossl("doctor", "--cluster", "site.yaml", "--json").stdout)["a job"]["works"] is True
    assert one.astrossl("doctor", "--cluster", "local").returncode == 2
    assert one.sent() == []
