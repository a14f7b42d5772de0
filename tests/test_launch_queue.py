"""What Slurm prints, read: rows, ids, limits; and the options that sites want. Nothing here needs a Slurm."""

import datetime
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import answers, client, executors, gaps, queue, wants
from hpc_astrossl.launch import cancel as cancelling
from hpc_astrossl.launch.answers import Ended
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.notes import Note, Notes, orphans, place
from hpc_astrossl.launch.plan import Plan, Stage
from hpc_astrossl.launch.sending import Sending, read_id
from hpc_astrossl.launch.shell import taken_up
from hpc_astrossl.launch.state import Lives, last_words
from hpc_astrossl.launch.status import End
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
        ("1001_[3-4]%25", ["1001_3", "1001_4"]),
        (" 1001[3-4%25] ", ["1001_3", "1001_4"]),
        ("1001_7%25", ["1001_7"]),
        ("1001_[3-4", ["1001_3", "1001_4"]),
        ("1001_*", ["1001_…"]),
        ("1001_[]", ["1001_…"]),
        ("123+0", ["123+0"]),
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
        "7_1": "PENDING", "7_2": "PENDING", "8": "RUNNING", "10": "COMPLETED", "9": answers.NO_STATE,
    }  # fmt: skip
    assert found["7_1"].command == "/a b/x.sh"
    assert found["8"].reason == "None"
    assert answers.table("JOBID|STATE|REASON|NAME|COMMAND\n") == {}
    assert answers.table("") is None
    assert answers.table("Welcome to the cluster\n") is None
    assert answers.look_up(answers.table("7_[1,...]|PENDING|None"), "7_5").state == "PENDING"


@pytest.mark.parametrize(
    "row",
    [
        "\x1b[32m5_1|RUNNING|None|e.scratch|/x.sh\x1b[0m",
        "\x1b[1;31m5_1\x1b[0m|\x1b[1;32mRUNNING\x1b[0m|None|e.scratch|/x.sh",
        "\ufeff5_1|RUNNING|None|e.scratch|/x.sh\r",
        "  5_1 | RUNNING |None|e.scratch| /x.sh",
        "\x1b]0;login1\x075_1|RUNNING|None|e.scratch|/x.sh",
    ],
)
def test_rows_are_read_through_colours_and_line_ends_of_others(row):
    for heading in ("JOBID|STATE|REASON|NAME|COMMAND", "\x1b[4mJOBID|STATE|REASON|NAME|COMMAND\x1b[0m"):
        found = answers.table(f"{heading}\r\n{row}\n")
        assert {job: (known.state, known.command) for job, known in found.items()} == {"5_1": ("RUNNING", "/x.sh")}
    accounted = row.replace("RUNNING", "FAILED").replace("|None|e.scratch|", " ").replace("/x.sh", "")
    assert answers.final_states(f"{accounted}\n") == {"5_1": Ended(state="FAILED")}


@pytest.mark.parametrize(
    "row", ["job 5_1|RUNNING|None|e.scratch|/x.sh", '"5_1"|RUNNING|None|n|/x', "|RUNNING|None|n|/x"]
)
def test_a_table_with_rows_that_are_no_jobs_is_no_answer(row):
    """What hides in such a row would pass for gone, and be sent again."""
    assert answers.table(f"JOBID|STATE|REASON|NAME|COMMAND\n{row}\n") is None


def test_final_states_of_sacct():
    text = "7_0|COMPLETED\n7_[3-4%25]|CANCELLED by 1000\n8|\n9|RUNNING\nnonsense\n|FAILED\n10|OUT_OF_MEMORY+\n"
    wanted = {"7_0": "COMPLETED", "7_3": "CANCELLED", "7_4": "CANCELLED", "10": "OUT_OF_MEMORY"}
    assert {job: ended.state for job, ended in answers.final_states(text).items() if job} == wanted


@pytest.mark.parametrize(
    ("sent", "known"),
    [("2026-11-29T08:00:00", True), ("2026-11-28T09:00:00", True), ("2026-11-20T10:00:00", False), ("Unknown", True),
     ("", True)],
)  # fmt: skip
def test_a_record_of_before_the_job_is_another_job_s(command, sent, known):
    """Where Slurm's numbers have begun anew, sacct tells of the earlier job until the new one's record is written."""
    command("sacct", f'echo "7_0|FAILED|{sent}"')
    assert ("7_0" in queue.final({"7_0": datetime.datetime(2026, 11, 29, 10)})) is known


def test_thousands_of_ended_elements_are_asked_for_in_portions(command, tmp_path):
    """Real systems refuse an argument of more than 128 KiB, and a line of more than 2 MiB."""
    command("sacct", f'echo "${{#*}}" >> {tmp_path}/sizes; echo "5000_7|FAILED"')
    jobs = dict.fromkeys(f"{array}_{number}" for array in range(5000, 5450) for number in range(200))
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
        ((1, "sbatch: error: Unable to contact slurm controller (receive failure)"), True),
        ((1, "sbatch: error: Batch job submission failed: Message receive failure"), True),
        ((1, "sbatch: error: Batch job submission failed: Insane message length"), True),
        ((1, "sbatch: error: getaddrinfo() failed: Temporary failure in name resolution"), True),
        ((1, "sbatch: error: slurm_receive_msg: No route to host"), True),
        ((None, ""), True), ((-9, "Killed"), True), ((1, ""), True),
        ((1, "squeue: request denied: rate limit of 20 a minute exceeded"), True),
        ((1, "You are calling squeue too often, please wait 30 seconds"), True),
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
        ("5_1||None|e.scratch|x", "exit 1", "unknown"),
        ("5_1|RUNNING|None|my own job|/home/me/x.sh", f"echo '{HEADING}'", None),
        ("5_1|RUNNING|None|renamed|/w/runs/e/.tasks/logs/.submission_file_1.sh", "exit 1", "running"),
    ],
)
def test_a_job_lives_has_ended_or_is_not_known(command, monkeypatch, listed, alone, phase):
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", f'case " $* " in *" --me "*) echo "{listed}";; *) {alone};; esac')
    assert lives("5_1") == phase


@pytest.mark.parametrize(
    ("err", "phase"), [("squeue: error: Invalid user: 1000", "unknown"), ("Welcome to alpha", None), ("", None)]
)
def test_an_empty_table_with_an_error_beside_it_is_no_answer(command, monkeypatch, err, phase):
    """exit 0, a heading and an error: a container without the user, a list of users that is away."""
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", f"echo 'JOBID|STATE|REASON|NAME|COMMAND'; echo '{err}' >&2")
    entry = Entry(kind="slurm", stage="scratch", job="5_1", items=("k",))
    assert Lives([entry]).phase(entry) == phase


@pytest.mark.parametrize("silence", [":", "echo Welcome", "exit 1"])
def test_a_squeue_without_a_table_has_not_answered(command, monkeypatch, silence):
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", silence)
    with pytest.raises(client.NoAnswer, match="squeue"):
        queue.states()
    lenient = Lives([Entry(kind="slurm", job="5", stage="s", items=("k",))], lenient=True)
    assert lenient.phase(lenient.entries[0]) == "unknown"


SINFO = """\
debug*|2:00:00|4|8000
long|infinite|64+|256000+
bare|1-00:00:00|8|1
\x1b[33mmixed|1:00:00|16|64000\x1b[0m
mixed|1:00:00|128|512000\r
"""


@pytest.mark.parametrize(
    ("name", "limits"),
    [
        (None, [(120, 4, 8000)]), ("debug", [(120, 4, 8000)]), ("debug,long", [(120, 4, 8000), (None, None, None)]),
        ("bare", [(1440, 8, None)]), ("mixed", [(60, 16, 64000), (60, 128, 512000)]),
    ],
)  # fmt: skip
def test_limits_of_partitions(command, name, limits):
    command("sinfo", f"cat <<'END'\n{SINFO}END")
    assert [(one.minutes, one.cpus, one.memory_mb) for one in queue.partitions(name)] == limits


@pytest.mark.parametrize(
    ("name", "need", "words"),
    [
        ("mixed", {"cpus": 128}, None),  # the largest node counts, and so does "64+", of which the most is not told
        ("long", {"cpus": 200}, None),
        ("mixed", {"cpus": 129}, "cpus × ranks 129, and partition mixed allows at most 128"),
        ("debug,mixed", {"cpus": 100, "minutes": 90}, "what no one kind of node has: cpus × ranks 100"),
        ("debug,mixed", {"cpus": 4, "minutes": 90}, None),
        ("bare", {"memory_gb": 900}, None),
    ],
)
def test_a_task_must_fit_one_kind_of_node(command, name, need, words):
    command("sinfo", f"cat <<'END'\n{SINFO}END")
    stage = Stage(name="scratch", items=(), resources=Resources(**{"cpus": 1, "memory_gb": 1, "minutes": 5} | need))
    cluster, plan = ClusterSpec(kind="slurm", partition=name), Plan(experiment="e", stages=(stage,))
    if words is None:
        queue.check_site(plan, cluster)
        return
    with pytest.raises(InputError, match=words):
        queue.check_site(plan, cluster)


def test_an_unknown_partition_is_named_and_no_default_is_no_limit(command):
    command("sinfo", f"cat <<'END'\n{SINFO}END")
    with pytest.raises(
        InputError, match="unknown partition 'dbug'; allowed: bare, debug, long, mixed; did you mean 'debug'"
    ):
        queue.partitions("long,dbug")
    command("sinfo", "echo 'a|1:00:00|4|8000'")
    assert queue.partitions(None) == []


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
    assert queue.final({"21_1": None, "21_0": None}) == {}


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
        ({"gpus": 2}, {"memory": "none", "sbatch": {"gres": "tmpfs:10g"}}, {"gpus-per-node": "2", "gres": "tmpfs:10g"}),
        (
            {"gpus": 2},
            {"memory": "none", "gpus": "gpu:1g.5gb", "sbatch": {"gres": "lscratch:9"}},
            {"gres": "gpu:1g.5gb:2,lscratch:9"},
        ),
        ({"gpus": 1}, {"memory": "none", "gpus": "gpu:nvidia_a100-sxm4-80gb"}, {"gres": "gpu:nvidia_a100-sxm4-80gb:1"}),
        (
            {"gpus": 1},
            {"memory": "none", "sbatch": {"tres-per-task": "cpu=1,gres/gpu:1"}},
            {"tres-per-task": "cpu=1,gres/gpu:1"},
        ),
        (
            {"gpus": 1},
            {"memory": "none", "sbatch": {"tres-per-node": "gres/shard:2"}},
            {"tres-per-node": "gres/shard:2"},  # Slurm refuses a GPU and a part of one together
        ),
        ({"gpus": 1}, {"memory": "none", "sbatch": {"gres": "mps:50"}}, {"gres": "mps:50"}),
        ({"gpus": 2, "nodes": 2}, {"memory": "none", "gpus": "gres/dcu"}, {"gres": "dcu:2"}),
        ({"gpus": 2}, {"memory": "none", "gpus": "gres/npu:910b"}, {"gres": "npu:910b:2"}),
        ({"gpus": 2}, {"memory": "none", "gpus": "gres/dcu", "sbatch": {"gres": "dcu:1"}}, {"gres": "dcu:1"}),
        ({"gpus": 1}, {"memory": "none", "sbatch": {"gres": False}}, {}),
        ({}, {"memory": "none", "sbatch": {"requeue": False, "exclusive": True}}, {"exclusive": True}),
    ],
)
def test_memory_and_gpus_as_a_site_wants_them(need, site, options):
    found = wants.additional(Resources(**need), ClusterSpec(kind="slurm", **site), {"requeue": True})
    assert found == ({"requeue": True} | options if site.get("sbatch", {}).get("requeue", True) else options)


def test_an_option_and_its_opposite_do_not_stand_in_one_script():
    """Of two the last in the script would hold, which is the one that the cluster file does not say."""
    site = ClusterSpec(kind="slurm", memory="none", sbatch={"no-requeue": True})
    assert wants.additional(Resources(), site, {"requeue": True}) == {"no-requeue": True}


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


SENT = "/w/runs/e/.tasks/logs/.submission_file_{}.sh"


@pytest.mark.parametrize(
    ("listed", "phase"),
    [
        (SENT.format("a"), "running"),
        ("/mnt/other/path/runs/e/.tasks/logs/.submission_file_a.sh", "running"),
        (SENT.format("a") + " --comment=site/x", "running"),  # sbatch "$@" --comment=…: arguments of the script
        ("/site/start.sh " + SENT.format("a"), "running"),
        (SENT.format("a") + ".orig", "running"),  # a copy of a wrapper's
        (SENT.format("b"), None),  # the number began anew: another array of the same experiment, or of another
    ],
)
def test_a_number_that_slurm_has_given_again_is_another_job(command, listed, phase):
    command("squeue", f'echo "{HEADING}"; echo "5_1|RUNNING|None|e.scratch|{listed}"')
    entry = Entry(kind="slurm", stage="scratch", job="5_1", items=("k",), script=".submission_file_a.sh")
    assert Lives([entry]).phase(entry) == phase


@pytest.mark.parametrize(
    ("scontrol", "phase", "words"),
    [
        ("echo 'ClusterName             = alpha'", None, None),
        (r"printf '\e[1mClusterName\e[0m = Alpha\r\n'", None, None),
        ("echo 'ClusterName             = beta'", "unknown", "cluster alpha, which cannot be asked from here"),
        ("echo 'Unable to contact slurm controller' >&2; exit 1", "unknown", "whether that is this one Slurm does not"),
        ("echo 'Configuration data as of now'", "unknown", "whether that is this one Slurm does not say"),
        (None, None, None),
    ],
)
def test_a_job_of_another_cluster_is_not_known_here(command, monkeypatch, scontrol, phase, words):
    """Two clusters that share a file system: what one does not list lives in the other."""
    monkeypatch.setattr(client, "PAUSES", ())
    command("squeue", f'echo "{HEADING}"')
    if scontrol:
        command("scontrol", scontrol)
    entry = Entry(kind="slurm", stage="scratch", job="5_1", items=("k",), cluster="alpha")
    told = Lives([entry])
    assert told.phase(entry) == phase
    assert words is None or words in told.elsewhere(entry)


def test_signs_of_an_earlier_job_of_that_number_are_forgotten(tmp_path):
    for name in ("7.kills", "7_2.cancelled", "7_2.ends", "7_2_0_log.out", "71.ends", "7_3.kills"):
        (tmp_path / name).write_text("137 n1\n")
        os.utime(tmp_path / name, (50, 50))
    os.utime(tmp_path / "7_3.kills", (200, 200))
    gaps.forget(tmp_path, "7", 100)
    assert {path.name for path in tmp_path.iterdir()} == {"7_2_0_log.out", "71.ends", "7_3.kills"}


@pytest.mark.parametrize("text", ["", "\n", "137 n[1-2]\n", "137\n", "\0\0\0\0\n", "garbage\n137 n1\n", "n1\n"])
def test_notes_of_how_a_job_ended_that_are_torn_do_not_end_status(tmp_path, text):
    ledger = Ledger(tmp_path, "e")
    ledger.logs.mkdir(parents=True)
    (ledger.logs / "5.ends").write_text(text)
    entry = Entry(kind="slurm", stage="scratch", job="5", items=("k",))
    lives = Lives([])
    lives.final = {"5": "FAILED"}
    words = End(ledger, lives)(entry)
    assert ("killed by SIGKILL" in words) is ("137" in text)


def note_of(ledger: Ledger) -> Note:
    entry = Entry(kind="slurm", stage="scratch", items=("k",), script=".submission_file_a.sh")
    return Note(script=".submission_file_a.sh", pickles=("p.pkl",), time=0.0, entries=(entry,))


def test_an_array_is_found_by_its_script_whatever_path_leads_to_it(tmp_path):
    ledger = Ledger(tmp_path, "e")
    known = queue.Known(state="PENDING", name="e.scratch", command="/auto/w/runs/e/.tasks/logs/.submission_file_a.sh")
    assert place(note_of(ledger), ledger, {"9_0": known}) == "9"
    behind = replace(known, command=f"{known.command} --comment=a/b")
    assert place(note_of(ledger), ledger, {"9_0": behind}) == "9"


def test_jobs_that_may_be_an_array_are_named_and_nothing_is_sent_beside_them(command, tmp_path):
    """A wrapper hands sbatch a script of its own and prints no number."""
    ledger = Ledger(tmp_path, "e")
    notes = Notes(ledger)
    notes.write(note_of(ledger))
    command("squeue", f'echo "{HEADING}"; echo "9_0|PENDING|None|e.scratch|/var/spool/site/x17"')
    with pytest.raises(InputError, match=r"with other scripts than ours: 9. End them \(scancel 9\)"):
        Sending(ledger).settle(queue.states())
    assert len(notes.all()) == 1
    command("squeue", f'echo "{HEADING}"; echo "9_0|CANCELLED|None|e.scratch|/var/spool/site/x17"')
    Sending(ledger).settle(queue.states())
    assert notes.all() == []


def test_living_jobs_that_are_not_counted_on_are_orphans(tmp_path):
    ledger = Ledger(tmp_path, "e")
    ledger.logs.mkdir(parents=True)
    (ledger.logs / ".submission_file_c.sh").touch()
    entry = Entry(kind="slurm", stage="scratch", items=("k",))
    ledger.add([replace(entry, job="1_0", script=".submission_file_x.sh"), Entry(kind="cancelled")])
    ledger.add([replace(entry, job="2_0", script=".submission_file_a.sh"), replace(entry, job="3_0")])

    def known(script: str, folder: str = str(ledger.logs), state: str = "RUNNING") -> queue.Known:
        return queue.Known(state=state, name="e.scratch", command=f"{folder}/.submission_file_{script}.sh")

    listing = {
        "1_0": known("x"),  # cancelled, and Slurm did nothing
        "2_0": known("a"), "3_0": known("b"),
        "4": known("c", "/auto/runs/e/.tasks/logs"),
        "5": known("d", "/auto/runs/other/.tasks/logs"),
        "6": known("e", state="COMPLETING"), "7": known("f", state="CANCELLED"),
    }  # fmt: skip
    assert set(orphans(ledger, listing)) == {"1", "4"}
    assert set(orphans(ledger, listing | {"2_0": known("z")})) == {"1", "2", "4"}


def test_an_array_that_went_to_another_cluster_is_refused(command, tmp_path):
    ledger = Ledger(tmp_path, "e")
    command("srun", ":")
    command("sbatch", 'echo "Submitted batch job 900 on cluster beta"')
    ledger.logs.mkdir(parents=True)
    parcel = executors.Parcel(script=".submission_file_a.sh", pickles=("p.pkl",))
    entry = Entry(kind="slurm", stage="scratch", items=("k",), cluster="alpha")
    for name in (parcel.script, *parcel.pickles):
        (ledger.logs / name).touch()
    with pytest.raises(InputError, match=r"another cluster, beta, as job 900.*scancel --clusters=beta 900"):
        Sending(ledger).send(parcel, [entry])
    assert not (ledger.logs / "p.pkl").exists()
    assert ledger.entries() == Notes(ledger).all() == []
    for name in (parcel.script, *parcel.pickles):
        (ledger.logs / name).touch()
    assert Sending(ledger).send(parcel, [replace(entry, cluster="beta")]) == ["900"]


@pytest.mark.parametrize(
    ("scancel", "states", "words"),
    [
        ("exit 0", ["CANCELLED"], None),
        ("exit 0", ["RUNNING", "COMPLETING"], None),  # obeyed at the second time
        ("exit 0", ["RUNNING"], "scancel said that it ended them; still there: 5_1"),
        ("echo busy >&2; exit 1", ["RUNNING"], "scancel failed: busy; still there: 5_1"),
        ("echo gone >&2; exit 1", ["CANCELLED"], None),
    ],
)
def test_cancel_looks_whether_slurm_did_it(command, tmp_path, monkeypatch, scancel, states, words):
    monkeypatch.setattr(cancelling, "LOOKS", (0, 0))
    command("scancel", f'echo "$@" >> {tmp_path}/cancelled; {scancel}')
    told = [f'echo "5_1|{state}|None|e.scratch|x"' for state in ["RUNNING", *states]]
    cases = " ".join(f"{number}) {line} ;;" for number, line in enumerate(told[:-1], start=1))
    command("squeue", f'echo >> {tmp_path}/n; echo "{HEADING}"\n'
                      f'case $(grep -c "" {tmp_path}/n) in {cases} *) {told[-1]} ;; esac')  # fmt: skip
    ledger = Ledger(tmp_path, "e")
    ledger.add([Entry(kind="slurm", stage="scratch", job="5_1", items=("k",))])
    if words is None:
        assert cancelling.cancel("e", tmp_path) == ["5_1"]
        assert ledger.entries() == []
        return
    with pytest.raises(InputError, match=words):
        cancelling.cancel("e", tmp_path)
    assert len(ledger.entries()) == 1


def test_cancel_leaves_the_jobs_of_another_cluster_alone(command, tmp_path):
    command("squeue", f'echo "{HEADING}"')
    command("scontrol", "echo 'ClusterName = beta'")
    command("scancel", f"touch {tmp_path}/cancelled")
    ledger = Ledger(tmp_path, "e")
    ledger.add([Entry(kind="slurm", stage="scratch", job="5_1", items=("k",), cluster="alpha")])
    with pytest.raises(InputError, match="5_1: on cluster alpha, which cannot be asked from here"):
        cancelling.cancel("e", tmp_path)
    assert not (tmp_path / "cancelled").exists()
