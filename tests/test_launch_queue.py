"""What Slurm prints, read: rows, ids, limits; and the options that sites want. Nothing here needs a Slurm."""

import os
import time
from pathlib import Path

import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import answers, client, queue, wants
from hpc_astrossl.launch.ledger import Entry
from hpc_astrossl.launch.sending import read_id
from hpc_astrossl.launch.shell import taken_up
from hpc_astrossl.launch.state import Lives, last_words
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import Resources


@pytest.fixture
def command(tmp_path, monkeypatch):
    """Put a command of that name, a shell script, on the path, which holds nothing else of Slurm's."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin") if not _slurm_in_bin() else _alone(tmp_path, monkeypatch)

    def make(name: str, script: str) -> Path:
        path = tmp_path / name
        path.write_text(f"#!/bin/bash\n{script}\n")
        path.chmod(0o755)
        return path

    return make


def _slurm_in_bin() -> bool:
    return any(Path(folder, "squeue").exists() for folder in ("/bin", "/usr/bin"))


def _alone(tmp_path: Path, monkeypatch) -> None:
    tools = tmp_path / "tools"
    tools.mkdir()
    for name in ("bash", "sleep", "cat", "echo", "env", "grep", "seq"):
        (tools / name).symlink_to(f"/bin/{name}")
    monkeypatch.setenv("PATH", f"{tmp_path}:{tools}")


@pytest.mark.parametrize(
    ("row", "ids"),
    [
        ("12", ["12"]),
        ("12_3", ["12_3"]),
        ("1001_[3-5%25]", ["1001_3", "1001_4", "1001_5"]),
        ("1001_[0,2-3,9]", ["1001_0", "1001_2", "1001_3", "1001_9"]),
        ("1001_[0-6:3%2]", ["1001_0", "1001_3", "1001_6"]),
        ("1001_[1,2,...]", ["1001_1", "1001_2", "1001_…"]),
    ],
)
def test_a_row_stands_for_its_elements(row, ids):
    assert list(answers.elements(row)) == ids


def test_a_table_with_anything_in_it():
    text = "\n".join([
        "JOBID|STATE|REASON|NAME|COMMAND", "7_[1-2%1]|PENDING|Priority|e.scratch|/a b/x.sh", "8|RUNNING||a|b|c|d",
        "9||None", "CLUSTER: other", "|||", "10|COMPLETED|None|n", "7_0|RUN",
    ])  # fmt: skip
    found = answers.table(text)
    assert {job: known.state for job, known in found.items()} == {
        "7_1": "PENDING", "7_2": "PENDING", "8": "RUNNING", "10": "COMPLETED",
    }  # fmt: skip
    assert found["7_1"].command == "/a b/x.sh"
    assert found["8"].reason == "None"
    assert answers.table("JOBID|STATE|REASON|NAME|COMMAND\n") == {}
    assert answers.table("") is None
    assert answers.table("Welcome to the cluster\n") is None
    assert answers.look_up(answers.table("7_[1,...]|PENDING|None"), "7_5").state == "PENDING"


def test_final_states_of_sacct():
    text = "7_0|COMPLETED\n7_[3-4%25]|CANCELLED by 1000\n8|\n9|RUNNING\nnonsense\n|FAILED\n10|OUT_OF_MEMORY+\n"
    wanted = {"7_0": "COMPLETED", "7_3": "CANCELLED", "7_4": "CANCELLED", "10": "OUT_OF_MEMORY"}
    assert {job: state for job, state in answers.final_states(text).items() if job} == wanted


def test_thousands_of_ended_elements_are_asked_for_in_portions(command, tmp_path):
    """Real systems refuse an argument of more than 128 KiB, and a line of more than 2 MiB."""
    command("sacct", f'echo "${{#*}}" >> {tmp_path}/sizes; echo "5000_7|FAILED"')
    jobs = [f"{array}_{number}" for array in range(5000, 5450) for number in range(200)]
    assert queue.final(jobs) == {"5000_7": "FAILED"}
    sizes = [int(line) for line in (tmp_path / "sizes").read_text().split()]
    assert len(sizes) == 3
    assert max(sizes) < 2000


@pytest.mark.parametrize(
    ("status", "out", "err", "job"),
    [
        (0, "Submitted batch job 7\n", "", ("7", True)),
        (0, "your job 17 of 500\nSubmitted batch job 7\n", "", ("7", True)),
        (0, "Submitted batch job 6\nSubmitted batch job 7\n", "", ("7", False)),
        (0, "Submitted batch job 900 on cluster other\n", "", ("900", True)),
        (0, "7\n", "", ("7", True)),
        (0, "7;cluster\n", "", ("7", True)),
        (0, "limit\n500\n7\n", "", ("7", False)),
        (0, "", "Submitted batch job 7", ("7", True)),
        (0, "", "", (None, False)),
        (1, "7", "Socket timed out", (None, False)),
        (1, "Submitted batch job 7", "Socket timed out", ("7", False)),
        (None, "", "", (None, False)),
    ],
)
def test_the_id_of_a_job_and_whether_nothing_else_could_be_meant(status, out, err, job):
    assert read_id(client.Reply(status=status, out=out, err=err)) == job


@pytest.mark.parametrize(
    ("reply", "silent"),
    [
        ((1, "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"), True),
        ((1, "sbatch: error: Batch job submission failed: Unexpected message received"), True),
        ((1, "sbatch: error: Unable to contact slurm controller (connect failure)"), True),
        ((1, "sbatch: error: Batch job submission failed: Slurm temporarily unable to accept job"), True),
        ((None, ""), True), ((-9, "Killed"), True), ((1, ""), True),
        ((1, "sbatch: error: --mem is not permitted on this system"), False),
        ((1, "sbatch: error: Batch job submission failed: Invalid account"), False),
        ((0, "a warning: connection refused once"), False),
    ],
)  # fmt: skip
def test_silence_is_told_from_a_refusal(reply, silent):
    status, words = reply
    assert client.Reply(status=status, out="", err=words).silent is silent


def test_a_question_is_asked_again_after_a_failure_and_once_when_refused(command, tmp_path, monkeypatch):
    monkeypatch.setattr(client, "PAUSES", (0, 0))
    command("sinfo", f'echo >> {tmp_path}/n; [ "$(grep -c "" {tmp_path}/n)" -lt 3 ] && exit 1; echo "answer"')
    assert client.ask(["sinfo"]) == "answer\n"
    command("squeue", f'echo >> {tmp_path}/m; echo "slurm_load_jobs error: Invalid job id specified" >&2; exit 1')
    with pytest.raises(InputError, match="squeue failed: slurm_load_jobs error: Invalid job id") as caught:
        client.ask(["squeue"])
    assert not isinstance(caught.value, client.NoAnswer)
    assert (tmp_path / "m").read_text() == "\n"
    with pytest.raises(client.NoAnswer, match="scontrol is not on this machine"):
        client.ask(["scontrol"])


def test_a_command_that_stalls_is_ended_with_its_children(command, monkeypatch):
    monkeypatch.setenv(client.OWN_PATIENCE, "0.5")
    command("squeue", "sleep 60 & echo begun; wait")
    began = time.monotonic()
    with pytest.raises(client.NoAnswer, match=r"squeue gave no answer within 0\.5 s; try again when Slurm does"):
        client.ask(["squeue"])
    assert time.monotonic() - began < 10
    for wrong in ("soon", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(client.OWN_PATIENCE, wrong)
        with pytest.raises(InputError, match="ASTROSSL_SLURM_PATIENCE must be a positive number of seconds, found"):
            client.patience()


def test_the_shells_own_filters_are_put_aside():
    shell = {"SQUEUE_PARTITION": "x", "SINFO_FORMAT": "x", "SACCT_FORMAT": "x", "SCANCEL_INTERACTIVE": "1", "A": "b",
             "SLURM_CONF": "/etc/slurm.conf", "SLURM_TIME_FORMAT": "x"}  # fmt: skip
    assert client.clean(shell) == {"A": "b", "SLURM_CONF": "/etc/slurm.conf", "SLURM_BITSTR_LEN": "0"}


def lives(job: str, stage: str = "scratch") -> str | None:
    return Lives([Entry(kind="slurm", stage=stage, job=job, items=("k",))]).phase(
        Entry(kind="slurm", stage=stage, job=job, items=("k",))
    )


HEADING = "JOBID|STATE|REASON|NAME|COMMAND"


@pytest.mark.parametrize(
    ("listed", "alone", "phase"),
    [
        ("5_1|RUNNING|None|e.scratch|x", "exit 1", "running"),
        ("5_[0-3%2]|PENDING|None|e.scratch|x", "exit 1", "queued"),
        ("5_1|COMPLETED|None|e.scratch|x", "exit 1", None),
        (HEADING, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", None),
        (HEADING, f"echo '{HEADING}'", None),
        (HEADING, "echo '5_1|PENDING|None|e.scratch|x'", "queued"),
        (HEADING, "exit 1", "unknown"),
        (HEADING, ":", "unknown"),
        (HEADING, "echo 'Socket timed out' >&2; exit 1", "unknown"),
        ("5_1|RUNNING|None|my own job|/home/me/x.sh", f"echo '{HEADING}'", None),
        ("5_1|RUNNING|None|renamed|/w/runs/e/.tasks/logs/.submission_file_1.sh", "exit 1", "running"),
    ],
)
def test_a_job_lives_has_ended_or_is_not_known(command, monkeypatch, listed, alone, phase):
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", f'case " $* " in *" --me "*) echo "{listed}";; *) {alone};; esac')
    assert lives("5_1") == phase


@pytest.mark.parametrize("silence", [":", "echo Welcome", "exit 1"])
def test_a_squeue_without_a_table_has_not_answered(command, monkeypatch, silence):
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", silence)
    with pytest.raises(client.NoAnswer, match="squeue"):
        queue.states()
    lenient = Lives([Entry(kind="slurm", job="5", stage="s", items=("k",))], lenient=True)
    assert lenient.phase(lenient.entries[0]) == "unknown"


SINFO = "debug*|2:00:00|4|8000\nlong|infinite|64+|256000+\nbare|1-00:00:00|8|1\n"


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        (None, (120, 4, 8000)), ("debug", (120, 4, 8000)), ("debug,long", (None, 64, 256000)),
        ("bare", (1440, 8, None)), ("bare, debug", (1440, 8, None)),
    ],
)  # fmt: skip
def test_limits_of_partitions(command, name, limits):
    command("sinfo", f"cat <<'END'\n{SINFO}END")
    found = queue.partition(name)
    assert (found.minutes, found.cpus, found.memory_mb) == limits


def test_an_unknown_partition_is_named_and_no_default_is_no_limit(command):
    command("sinfo", f"cat <<'END'\n{SINFO}END")
    with pytest.raises(InputError, match="unknown partition 'dbug'; allowed: bare, debug, long; did you mean 'debug'"):
        queue.partition("long,dbug")
    command("sinfo", "echo 'a|1:00:00|4|8000'")
    assert queue.partition(None) == queue.Limits()


@pytest.mark.parametrize(("config", "limit"), [("0", 1), ("1", 1), ("7", 7), ("100000", 1000)])
def test_the_array_limit_of_a_site(command, config, limit):
    command("scontrol", f"echo 'MaxArraySize            = {config}'")
    assert queue.array_limit(ClusterSpec(kind="slurm")) == limit
    command("scontrol", "echo 'MaxArraySize = 1001'; echo 'SchedulerParameters = bf_max=3,max_array_tasks=20'")
    assert queue.array_limit(ClusterSpec(kind="slurm")) == 20


def test_half_a_table_tells_nothing_of_the_jobs_that_it_lacks(command, monkeypatch):
    monkeypatch.setattr(client, "PAUSES", ())
    row = "JOBID|STATE|REASON|NAME|COMMAND\n21_3|PENDING|None|toys|/x\n21_2|RUNNING|None|toys|/x\n21_1|RUNN"
    command("squeue", f"printf '{row}'")
    for ask in (queue.states, lambda: queue.confirm("21")):
        with pytest.raises(client.NoAnswer, match="cut short"):
            ask()
    command("sacct", "printf '21_1|FAILED\n21_0|CANC'")
    assert queue.final(["21_1", "21_0"]) == {}


@pytest.mark.parametrize("said", ["echo 'Configuration data'; echo 'MaxAr'", "printf 'MaxArraySize = 10'", "true"])
def test_a_configuration_that_was_cut_short_is_no_answer(command, monkeypatch, said):
    monkeypatch.setattr(client, "PAUSES", ())
    command("scontrol", said)
    with pytest.raises(client.NoAnswer, match=r"told no MaxArraySize|cut short"):
        queue.array_limit(ClusterSpec(kind="slurm"))
    assert queue.array_limit(ClusterSpec(kind="slurm"), lenient=True) == 1000


@pytest.mark.parametrize(
    ("need", "site", "options"),
    [
        ({"memory_gb": 2, "ranks": 2}, {}, {"mem": "4096M"}),
        ({"memory_gb": None}, {}, {}),
        ({"memory_gb": 2, "cpus": 3}, {"memory": "cpu"}, {"mem-per-cpu": "683M"}),
        ({"memory_gb": 2, "gpus": 2}, {"memory": "gpu"}, {"mem-per-gpu": "2048M", "gpus-per-node": "2"}),
        ({"memory_gb": 2, "cpus": 4}, {"memory": "gpu"}, {"mem-per-cpu": "512M"}),
        ({"gpus": 2}, {"memory": "none"}, {"gpus-per-node": "2"}),
        ({"gpus": 2, "nodes": 2}, {"memory": "none", "gpus": "gpus"}, {"gpus": "4"}),
        ({"gpus": 2}, {"memory": "none", "gpus": "gpus-per-task"}, {"gpus-per-task": "1"}),
        ({"gpus": 2}, {"memory": "none", "gpus": "gpu:a100"}, {"gres": "gpu:a100:2"}),
        ({"gpus": 1}, {"memory": "none", "gpus": "gpus-per-node:h100"}, {"gpus-per-node": "h100:1"}),
        ({"gpus": 1}, {"sbatch": {"gres": "gpu:1", "mem-per-gpu": "20G"}}, {"gres": "gpu:1", "mem-per-gpu": "20G"}),
        ({}, {"memory": "none", "sbatch": {"requeue": False, "exclusive": True}}, {"exclusive": True}),
    ],
)
def test_memory_and_gpus_as_a_site_wants_them(need, site, options):
    found = wants.additional(Resources(**need), ClusterSpec(kind="slurm", **site), {"requeue": True})
    assert found == ({"requeue": True} | options if site.get("sbatch", {}).get("requeue", True) else options)


@pytest.mark.parametrize(
    ("sbatch", "words"),
    [
        ({"clusters": "other"}, "sbatch: clusters sends jobs to another cluster"),
        ({"M": "other"}, "sbatch: M sends jobs to another cluster"),
        ({"array": "0-3"}, "sbatch: array is decided by max_array and parallel; remove it"),
        ({"time": 5}, "sbatch: time is decided by minutes of the resources"),
    ],
)
def test_options_that_a_cluster_file_cannot_hold(sbatch, words):
    with pytest.raises(InputError, match=words):
        ClusterSpec(kind="slurm", sbatch=sbatch)
    with pytest.raises(InputError, match="gpus must be gpus-per-node, gpus-per-task or gpus"):
        ClusterSpec(kind="slurm", gpus="tesla")


def test_the_shells_variables_are_taken_up_or_named():
    shell = {"SBATCH_ACCOUNT": "prof", "SBATCH_QOS": "high", "SBATCH_RESERVATION": "school", "SBATCH_TIMELIMIT": "9"}
    cluster, told = taken_up(ClusterSpec(kind="slurm", qos="low"), shell)
    assert (cluster.account, cluster.qos, cluster.sbatch) == ("prof", "low", {"reservation": "school"})
    assert len(told) == 4
    with pytest.raises(InputError, match="SLURM_CLUSTERS=b of this shell sends jobs to another cluster"):
        taken_up(cluster, {"SLURM_CLUSTERS": "b"})


@pytest.mark.parametrize(
    ("log", "words"),
    [
        ("x: No module named 'submitit'\nsrun: error: n1: task 0: Exited with exit code 1\nsrun: Terminating",
         "x: No module named 'submitit'"),
        ("slurmstepd-n1: error: execve(): /opt/nowhere/python3: No such file or directory\n"
         "srun: error: n1: task 0: Exited with exit code 2\n", "slurmstepd-n1: error: execve(): /opt/nowhere/python3"),
        ("RuntimeError: no\nslurmstepd: error: *** STEP 1.0 ON n1 CANCELLED AT 2026-11-28T10:00:00 ***\n"
         "srun: Job step aborted: Waiting up to 32 seconds for job step to finish.\nsrun: error: n1: task 1: Killed\n",
         "RuntimeError: no"),
        ("srun: fatal: cpus-per-task set by two different environment variables\n", "srun: fatal: cpus-per-task set"),
        ("srun: Terminating StepId=1.0\n", "srun: Terminating StepId=1.0"),
        ("[2026-11-28T10:00:00.1] slurmstepd: error: *** JOB 7 ON n1 CANCELLED ***\n", "[2026-11-28T10"),
    ],
)  # fmt: skip
def test_the_line_of_a_log_that_says_why(tmp_path, log, words):
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log").startswith(words)
    assert last_words(tmp_path / "none") is None


def test_nothing_of_slurm_is_left_in_the_path(command):
    assert not any(Path(folder, "squeue").exists() for folder in os.environ["PATH"].split(":"))
