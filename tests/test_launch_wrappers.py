"""What sites put before Slurm's commands, and what its answers look like there: shims, as such sites were reported."""

import datetime
import time
from dataclasses import replace
from pathlib import Path

import pytest

from hpc_astrossl import config
from hpc_astrossl.cli import submit
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import answers, client, executors, queue, sending
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.launch.notes import Note, Notes, copies, orphans
from hpc_astrossl.launch.plan import Item, Stage
from hpc_astrossl.launch.sending import Sending, read_id
from hpc_astrossl.launch.shell import taken_up
from hpc_astrossl.launch.state import Lives, last_words
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import Resources

HEADING = "JOBID|STATE|REASON|NAME|COMMAND"
ENTRY = Entry(kind="slurm", stage="scratch", job="5_1", items=("k",))


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put a command of that name, the text as it is, before all others."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(client, "PAUSES", ())

    def make(name: str, text: str) -> Path:
        path = tmp_path / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    for name in ("sacct", "scontrol"):
        make(name, "#!/bin/sh\nexit 1\n")
    return make


def test_a_wrapper_whose_first_line_names_no_shell(put):
    put("squeue", f'echo "{HEADING}"\necho "5_1|RUNNING|None|e.scratch|$1"\n')
    assert queue.states()["5_1"].command == "--all"


@pytest.mark.parametrize("through", ['eval "$real $*"', 'sh -c "$real $*"', 'bash -c "$real $*" 2> /dev/null'])
def test_a_wrapper_that_gives_our_words_to_a_shell_once_more(put, tmp_path, through):
    """As ssh does on its other end."""
    squeue = put("squeue.real", f'#!/bin/bash\n[ "$*" = "{" ".join(queue.SQUEUE[1:])} --me" ] || exit 0\n'
                 f'echo "{HEADING}"\necho "5_1|RUNNING|None|e.scratch|/x.sh"\n')  # fmt: skip
    sinfo = put("sinfo.real", f'#!/bin/bash\n[ "$*" = "{" ".join(queue.SINFO[1:])}" ] && '
                f'echo "debug*|2:00:00|4|8000"\n')  # fmt: skip
    put("squeue", f"#!/bin/bash\nreal={squeue}\n{through}\n")
    put("sinfo", f"#!/bin/bash\nreal={sinfo}\n{through}\n")
    assert queue.states().keys() == {"5_1"}
    assert queue.partitions("debug") == [queue.Limits(minutes=120, cpus=4, memory_mb=8000)]


def test_a_wrapper_that_leaves_a_process_behind_has_answered(put, tmp_path, monkeypatch):
    """The usage log that goes on in the background keeps the wrapper's output open."""
    monkeypatch.setattr(client, "LINGER", 0.5)
    put("sbatch", f"#!/bin/bash\nsleep 30 & echo $! > {tmp_path}/pid\necho Submitted batch job 7\n")
    began = time.monotonic()
    assert client.run(["sbatch"]) == client.Reply(status=0, out="Submitted batch job 7\n", err="")
    assert time.monotonic() - began < 15
    Path("/proc", (tmp_path / "pid").read_text().strip(), "cmdline").read_bytes()  # it lives on


def test_what_comes_after_the_end_of_a_wrapper_is_waited_for(put):
    """exec > >(tee log), whose tee outlives the wrapper."""
    put("squeue", f'#!/bin/bash\nexec > >(sleep 0.7; cat)\necho "{HEADING}"\necho "5_1|RUNNING|None|n|x"\n')
    assert queue.states().keys() == {"5_1"}


@pytest.mark.parametrize(
    ("age", "alone", "phase"),
    [
        (5, f"echo '{HEADING}'", "unknown"),  # a table that a wrapper kept from before the job
        (-5, f"echo '{HEADING}'", "unknown"),  # the clocks of two login nodes differ
        (5, "echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", None),
        (100_000, f"echo '{HEADING}'", None),
    ],
)
def test_an_empty_table_says_nothing_of_a_job_just_sent(put, age, alone, phase):
    put("squeue", f'#!/bin/bash\ncase " $* " in *" --me "*) echo "{HEADING}";; *) {alone};; esac\n')
    sent = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=age)
    entry = replace(ENTRY, time=sent.isoformat(timespec="seconds"))
    assert Lives([entry]).phase(entry) == phase


@pytest.mark.parametrize("name", ["two\nlines", "two\nl|i|n|e|s", "x\n7_0 | no | row"])
def test_a_line_break_in_the_name_of_another_job_hides_none(name):
    """sbatch takes any name; squeue prints it as it is."""
    text = f"{HEADING}\n4|PENDING|None|{name}|/x.sh\n5_1|RUNNING|None|e.scratch|/y.sh\n"
    found = answers.table(text)
    assert found is not None
    assert {job: known.state for job, known in found.items()} == {"4": "PENDING", "5_1": "RUNNING"}


@pytest.mark.parametrize(
    ("word", "phase"),
    [("R", "running"), ("PD", "queued"), ("CG", "running"), ("CD", None), ("TO", None), ("RH", "queued"),
     ("POWER_UP_NODE", "queued"), ("EXPEDITING", "queued"), ("SIGNALING", "running"), ("A_NEW_ONE", "running")],
)  # fmt: skip
def test_states_in_short_and_states_of_later_versions(put, word, phase):
    put("squeue", f'#!/bin/sh\necho "{HEADING}"\necho "5_1|{word}|None|e.scratch|x"\n')
    assert Lives([ENTRY]).phase(ENTRY) == phase


@pytest.fixture
def parcel(tmp_path):
    """An array that is ready to be sent, and the experiment's ledger."""
    ledger = Ledger(tmp_path, "e")
    ledger.logs.mkdir(parents=True)
    found = executors.Parcel(script=".submission_file_a.sh", pickles=("p.pkl",))
    for name in (found.script, *found.pickles):
        (ledger.logs / name).touch()
    return found, ledger


@pytest.mark.parametrize("said", ["Submitted batch job 900 on cluster beta", "900;beta"])
@pytest.mark.parametrize("here", ["alpha", None])
def test_another_cluster_is_named_however_sbatch_says_it(put, parcel, said, here):
    """Also where this cluster does not tell its own name."""
    put("sbatch", f'#!/bin/sh\necho "{said}"\n')
    put("squeue", f'#!/bin/sh\necho "{HEADING}"\n')
    array, ledger = parcel
    with pytest.raises(InputError, match=r"another cluster, beta, as job 900.*scancel --clusters=beta 900"):
        Sending(ledger).send(array, [replace(ENTRY, cluster=here)])
    assert Notes(ledger).all() == ledger.entries() == []


@pytest.mark.parametrize("said", ["7;my Big Süd-cluster_2.x", "Submitted batch job 7 on cluster My big süd-cluster_2.X",
                                  "Submitted batch job 7 on cluster my big süd-cluster_2.x (queue debug)"])  # fmt: skip
def test_a_cluster_of_any_name_is_itself(put, parcel, said):
    """Slurm takes quoted names with blanks, and writes all of them in small letters."""
    put("scontrol", '#!/bin/sh\necho "ClusterName             = my big süd-cluster_2.x  "\necho "CliFilter = x"\n')
    put("sbatch", f'#!/bin/sh\necho "{said}"\n')
    put("squeue", "#!/bin/sh\nexit 1\n")  # not asked
    array, ledger = parcel
    assert queue.cluster_name() == "my big süd-cluster_2.x"
    assert Sending(ledger).send(array, [replace(ENTRY, cluster=queue.cluster_name())]) == ["7"]
    assert taken_up(ClusterSpec(kind="slurm"), {"SLURM_CLUSTERS": "My big süd-cluster_2.X"})[1] == []
    put("sbatch", '#!/bin/sh\necho "7;my big süd-cluster_2.x"\n')
    with pytest.raises(InputError, match=r"my big süd-cluster_2\.x, as job 7.*--clusters='my big süd-cluster_2.x' 7"):
        Sending(ledger).send(array, [replace(ENTRY, cluster="other")])


@pytest.mark.parametrize(
    "said", ["Submitted batch job 7 on cluster alpha.", "Submitted batch job 7 on cluster alpha, good luck",
             r"\e[32mSubmitted batch job \e[1m7\e[0m on cluster alpha\e[0m", r"\e[1m7;alpha\e[0m\r", r"\e[1m7\e[0m"]
)  # fmt: skip
def test_what_a_wrapper_adds_to_the_cluster_or_colours_is_not_its_name(put, parcel, said):
    put("sbatch", f"#!/bin/bash\nprintf '{said}\\n'\n")
    put("squeue", "#!/bin/sh\nexit 1\n")  # not asked
    array, ledger = parcel
    assert Sending(ledger).send(array, [replace(ENTRY, cluster="alpha")]) == ["7"]


@pytest.mark.parametrize("other", ["alphabet", "alpha-2", "alpha.example"])
def test_a_name_that_begins_like_ours_is_another_cluster(put, parcel, other):
    put("sbatch", f'#!/bin/sh\necho "Submitted batch job 7 on cluster {other}"\n')
    array, ledger = parcel
    with pytest.raises(InputError, match=f"another cluster, {other}, as job 7"):
        Sending(ledger).send(array, [replace(ENTRY, cluster="alpha")])


def test_a_configuration_in_colours_is_read(put):
    put("scontrol", "#!/bin/bash\nprintf '\\e[1mMaxArraySize\\e[0m = \\e[33m8\\e[0m\\r\\n\\e[0m'\n")
    assert queue.array_limit(ClusterSpec(kind="slurm")) == 8


@pytest.mark.parametrize(
    "banner",
    ["| Welcome | to | the | cluster |", "|_____|  |_____|", "1|2|3|4|5 days", "  \\ | / | | | "],
)
def test_a_banner_with_bars_above_the_table_hides_no_job(put, banner):
    put("squeue", f"#!/bin/sh\ncat <<'END'\n{banner}\n{HEADING}\n5_1|RUNNING|None|e.scratch|/x.sh\nEND\n")
    assert queue.states().keys() == {"5_1"}


def test_rows_above_the_heading_are_rows(put):
    """A wrapper that sorts."""
    put("squeue", f"#!/bin/sh\ncat <<'END'\n5_1|RUNNING|None|e.scratch|/x.sh\n{HEADING}\nEND\n")
    assert queue.states().keys() == {"5_1"}
    put("squeue", f'#!/bin/sh\ncat <<\'END\'\n"5_1"|"RUNNING"|None|e.scratch|/x.sh\n{HEADING}\nEND\n')
    with pytest.raises(client.NoAnswer, match="rows that are no jobs"):
        queue.states()


def test_a_cluster_that_tells_its_name_to_sbatch_alone(put, parcel):
    array, ledger = parcel
    put("sbatch", '#!/bin/sh\necho "Submitted batch job 900 on cluster slaking"\n')
    put("squeue", f'#!/bin/sh\necho "{HEADING}"\necho "900|PENDING|None|e.scratch|{ledger.logs / array.script}"\n')
    assert Sending(ledger).send(array, [ENTRY]) == ["900"]


def test_a_bare_id_below_lines_with_other_numbers():
    """A Kerberos plug-in that prints dated lines with numbers of processes before the id."""
    out = (
        "Sun Jul  7 03:08:22 2019 [INFO4] [euid=5534,pid=5818] cred_krb5: context initialised\n"
        "Sun Jul  7 03:08:23 2019 [INFO4] [euid=5534,pid=5818] cred_api: credential added\n132826\n"
    )
    assert read_id(client.Reply(status=0, out=out, err="")) == ("132826", False)


def test_an_array_that_a_wrapper_sent_twice_is_one_array_and_an_idle_copy(put, parcel, capsys):
    """It repeats an sbatch whose answer did not come."""
    array, ledger = parcel
    put("sbatch", '#!/bin/sh\necho "sbatch: error: Socket timed out" >&2\necho "Submitted batch job 8"\n')
    assert Sending(ledger).send(array, [replace(ENTRY, job=None)]) == ["8"]
    rows = "".join(f"{job}|PENDING|None|e.scratch|{ledger.logs}/{array.script}\n" for job in (7, 8))
    put("squeue", f"#!/bin/sh\ncat <<'END'\n{HEADING}\n{rows}END\n")
    listing = queue.states()
    assert copies(ledger, listing) == {"7": "8"}
    assert orphans(ledger, listing).keys() == {"7"}  # cancel ends it with the rest
    submit._settle(ledger)
    assert "job 7 is a second copy of 8" in capsys.readouterr().err
    ledger.add([Entry(kind="cancelled")])
    with pytest.raises(InputError, match=r"7 \(e.scratch\), 8 \(e.scratch\), never noted or cancelled"):
        submit._settle(ledger)


def test_a_login_node_without_srun_submits(put, parcel):
    array, ledger = parcel
    put("sbatch", '#!/bin/sh\necho "Submitted batch job 7"\n')
    assert Sending(ledger).send(array, [ENTRY]) == ["7"]


@pytest.mark.parametrize(
    ("words", "remedy"),
    [
        ("sbatch: error: QOSMaxSubmitJobPerUserLimit\nsbatch: error: Batch job submission failed: Job violates "
         "accounting/QOS policy (job submit limit, user's size and/or time limits)", "set max_array"),
        ("sbatch: error: AssocMaxSubmitJobLimit", "set max_array in the cluster file below the site's"),
        ("sbatch: error: Batch job submission failed: Job dependency problem",
         "left Slurm's memory meanwhile: run this again"),
    ],
)  # fmt: skip
def test_a_refusal_that_is_understood_is_told_with_what_to_do(put, parcel, words, remedy):
    array, ledger = parcel
    put("sbatch", f"#!/bin/sh\ncat >&2 <<'END'\n{words}\nEND\nexit 1\n")
    put("squeue", f'#!/bin/sh\necho "{HEADING}"\n')
    with pytest.raises(InputError, match=f"refused the job: .*{remedy}"):
        Sending(ledger).send(array, [ENTRY])


def test_a_controller_that_heard_and_did_not_answer_may_have_taken_the_array(put, parcel, monkeypatch):
    monkeypatch.setattr(sending, "LOOKS", (0, 0))
    array, ledger = parcel
    put("squeue", f'#!/bin/sh\necho "{HEADING}"\n')
    for failure, words in (("receive failure", "gave no clear answer"), ("connect failure", "did not reach Slurm")):
        put("sbatch", f'#!/bin/sh\necho "sbatch: error: Unable to contact slurm controller ({failure})" >&2; exit 1\n')
        with pytest.raises(InputError, match=words):
            Sending(ledger).send(array, [ENTRY])
        assert len(Notes(ledger).all()) == (failure == "receive failure")


def test_a_site_that_shows_users_neither_configuration_nor_partitions(put):
    """A refusal is an answer: the cluster file and sbatch have the last word."""
    put("scontrol", "#!/bin/sh\necho 'scontrol: permission denied for users' >&2; exit 1\n")
    put("sinfo", "#!/bin/sh\necho 'sinfo: Access/permission denied' >&2; exit 1\n")
    assert queue.array_limit(ClusterSpec(kind="slurm", max_array=50)) == 50
    assert queue.cluster_name() is None
    assert queue.partitions("gpu") == []
    put("scontrol", "#!/bin/sh\necho 'Socket timed out' >&2; exit 1\n")
    put("sinfo", "#!/bin/sh\necho 'Socket timed out' >&2; exit 1\n")
    for ask in (
        lambda: queue.array_limit(ClusterSpec(kind="slurm")),
        queue.cluster_name,
        lambda: queue.partitions("gpu"),
    ):
        with pytest.raises(client.NoAnswer):
            ask()


def test_a_site_that_refuses_the_number_of_nodes(tmp_path):
    site = ClusterSpec(kind="slurm", sbatch={"nodes": False, "cpus-per-task": False})

    def script(**resources: int) -> str:
        stage = Stage(name="s", items=(Item(key="k", command=(), produces="p"),), resources=Resources(**resources))
        return executors.script(1, tmp_path, executors.slurm_options("n", stage, site, tmp_path, after="", arrays=1))

    assert "--nodes" not in script(cpus=1)
    assert "#SBATCH --cpus-per-task" not in script(cpus=1)
    assert "#SBATCH --ntasks-per-node=1" in script(cpus=1)
    with pytest.raises(
        InputError, match="cpus-per-task: false of the cluster file leaves Slurm's default, 1, and a task wants 4"
    ):
        script(cpus=4)


@pytest.mark.parametrize(
    "site",
    [
        {"partition": "debug, urgent"},
        {"partition": "debug,urgent,"},
        {"partition": "x", "sbatch": {"partition": "debug ,urgent"}},
    ],
)
def test_several_partitions_stand_in_the_script_as_sbatch_takes_them(tmp_path, site):
    cluster = ClusterSpec(kind="slurm", **site)
    stage = Stage(name="s", items=(Item(key="k", command=(), produces="p"),), resources=Resources())
    text = executors.script(1, tmp_path, executors.slurm_options("n", stage, cluster, tmp_path, after="", arrays=1))
    assert [line for line in text.splitlines() if "--partition" in line] == ["#SBATCH --partition=debug,urgent"]


def test_variables_of_srun_are_named_and_the_own_cluster_is_no_other(put):
    put("scontrol", '#!/bin/sh\necho "ClusterName = alpha"\n')
    shell = {"SRUN_CPUS_PER_TASK": "8", "SLURM_CLUSTERS": "alpha", "SBATCH_EXCLUSIVE": "true"}
    _, told = taken_up(ClusterSpec(kind="slurm"), shell)
    assert told == [
        "SBATCH_EXCLUSIVE of this shell is not used: give the option under sbatch in the cluster file",
        "SRUN_CPUS_PER_TASK of this shell is not used: give the variable under environment in the cluster file",
    ]
    with pytest.raises(InputError, match="SLURM_CLUSTERS=alpha,beta of this shell sends jobs to another cluster"):
        taken_up(ClusterSpec(kind="slurm"), {"SLURM_CLUSTERS": "alpha,beta"})


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("cluster", "sends jobs to another cluster"), ("arr", "short for another option, as array"),
        ("depend", "as dependency"), ("out", "as output"), ("p", "short for another option; write its whole long name"),
    ],
)  # fmt: skip
def test_abbreviations_of_options_that_are_decided_elsewhere(option, words):
    """sbatch takes each as the whole."""
    with pytest.raises(InputError, match=words):
        config.parse({"kind": "slurm", "sbatch": {option: "x"}}, ClusterSpec, "site.yaml")


SUMMARY = "==== job 7 ====\nElapsed 00:00:01, CPU efficiency 0.1%\n================\n"


@pytest.mark.parametrize(
    ("log", "never", "begun"),
    [
        (f"python3: No module named submitit\nsrun: Terminating\n{SUMMARY}", "python3: No module named", "===="),
        (f"slurm_script: line 20: apptainer: command not found\n{SUMMARY}", "slurm_script: line 20", "===="),
        ("RuntimeError: no\nslurmstepd: error: Failed to send MESSAGE_TASK_EXIT: Connection refused\n"
         "srun: error: n1: tasks 2-3: Exited with exit code 1\n", "RuntimeError: no", "RuntimeError: no"),
        ("module: error: x is deprecated\nepoch 3: loss 0.2\n", "module: error", "epoch 3"),
        (SUMMARY, "====", "===="),
    ],
)  # fmt: skip
def test_a_sites_summary_of_the_job_does_not_hide_why_it_never_began(tmp_path, log, never, begun):
    (tmp_path / "log").write_text(log)
    assert last_words(tmp_path / "log", begun=False).startswith(never)
    assert last_words(tmp_path / "log").startswith(begun)


def test_a_note_of_a_login_node_whose_clock_is_ahead_is_not_waited_for_an_hour():
    note = Note(script="x.sh", pickles=(), entries=(), time=time.time() + 3600)
    assert 0 < note.due() <= 60
