"""What doctor --cluster tells of a site, asked of shims: each line for the cluster file is such a line."""

import os
import re
from pathlib import Path

import pytest
import yaml

from hpc_astrossl import config
from hpc_astrossl.cli.doctor import Finding, _by_name
from hpc_astrossl.launch import client, examine
from hpc_astrossl.specs.cluster import ClusterSpec

CONFIG = """\
Configuration data as of 2026-11-29T08:00:00
AccountingStorageType   = accounting_storage/slurmdbd
ClusterName             = alpha
JobRequeue              = 0
KillWait                = 30 sec
MaxArraySize            = 1001
PreemptMode             = CANCEL
SchedulerParameters     = max_array_tasks=20,bf_max_job_test=50
SelectTypeParameters    = CR_CORE
"""


@pytest.fixture
def put(tmp_path, monkeypatch):
    """Put a command of that name before all others; those of Slurm's that no test gives print nothing."""
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    monkeypatch.setattr(client, "PAUSES", ())

    def make(name: str, script: str) -> None:
        Path(tmp_path, name).write_text(f"#!/bin/bash\n{script}\n")
        Path(tmp_path, name).chmod(0o755)

    for name in (*examine.COMMANDS, "sacct", "sacctmgr"):
        make(name, ":")
    make("squeue", 'echo "JOBID|STATE|REASON|NAME|COMMAND"')
    make("scontrol", f"cat <<'END'\n{CONFIG}END")
    make("sbatch", 'echo "sbatch: Job 7 to start at 2026-11-29T08:00:00 using 1 processors on nodes n1" >&2')
    return make


def facts(put, *, sinfo: str, **site: object) -> list[examine.Fact]:
    rows = "\n".join(sinfo.split())
    put("sinfo", f"case \"$*\" in *version*) echo slurm 25.05.1 ;; *%G*) cat <<'END'\n{rows}\nEND\n;; esac")
    return list(examine.examine(ClusterSpec(kind="slurm", **site)))


SITES = {
    "a type that begins with a digit": "gpu*|up|1:00|2|16|64000|gpu:2080ti:4(S:0-1)",
    "a type that is a number": "gpu*|up|1:00|2|16|64000|gpu:3090:8",
    "two types, the first unnamed": "gpu*|up|1:00|2|16|64000|gpu:2,gpu:nvidia_a100-sxm4-80gb:4(S:0-1),shard:8",
    "down, and without GPUs": "cpu*|down|1:00|2|16+|1|(null)",
    "no default": "x|up|infinite|2|16|64000|(null)\ny|up|1:00|1|1|1|gpu:1",
    "two kinds of node": "mix*|up|1:00|2|16|64000|(null)\nmix*|up|1:00|2|64|256000|gpu:a100:4,gpu:a100:4",
    "nothing": "",
}


@pytest.mark.parametrize("sinfo", SITES.values(), ids=SITES)
@pytest.mark.parametrize(
    "site",
    [{}, {"partition": "nowhere,gpu", "account": "none", "qos": "no", "gpus": "gpu:v100"}, {"gpus": "gpus"}],
    ids=["plain", "wrong", "gpus"],
)
def test_every_line_for_the_cluster_file_is_one(put, sinfo, site):
    put("sacctmgr", 'echo "prof||normal,high"; echo "school||normal"')
    found = facts(put, sinfo=sinfo, **site)
    assert len(found) > 5
    for fact in found:
        if fact.put:
            hold(fact.advice)


def hold(line: str) -> None:
    """The line is one of a cluster file."""
    read = yaml.safe_load(line)
    assert isinstance(read, dict), line
    config.parse({"kind": "slurm"} | read, ClusterSpec, "site.yaml")


@pytest.mark.parametrize(
    ("words", "key"),
    [
        ("Memory specification can not be satisfied", "memory"), ("--mem is not permitted on this system", "memory"),
        ("Invalid account or account/partition combination specified", "account"),
        ("invalid partition specified: dbug", "partition"), ("Invalid qos specification", "qos"),
        ("Invalid generic resource (gres) specification", "gpus"),
        ("Requested time limit is invalid (missing or exceeds some limit)", "resources"),
    ],
)  # fmt: skip
def test_a_refusal_is_answered_with_a_line_for_the_cluster_file(put, words, key):
    put("sbatch", f'echo "sbatch: error: {words}" >&2; exit 1')
    fact = said(facts(put, sinfo="cpu*|up|1:00|2|16|64000|(null)"), "a job")
    assert fact.works is False
    assert fact.put.startswith(f"{key}: ")
    hold(fact.advice)


def said(found: list[examine.Fact], name: str) -> examine.Fact:
    return next(fact for fact in found if fact.name == name)


@pytest.mark.parametrize(
    ("gres", "site", "put_in"),
    [
        ("gpu:2080ti:4(S:0-1)", {}, "gpus_per_node: 4"),
        ("gpu:3090:8", {}, "gpus_per_node: 8"),
        ("gpu:a100:2(S:0),gpu:a100:2(S:1)", {}, "gpus_per_node: 4"),
        ("gpu:a100:2,gpu:v100:6", {"gpus": "gpu:a100"}, "gpus_per_node: 2"),
        ("gres/gpu:h100:no_consume:4,craynetwork:4", {}, "gpus_per_node: 4"),
        ("mps:400,shard:8", {}, "gpus_per_node: 0"),
        ("gpu:4", {"gpus_per_node": 4}, ""),
        ("dcu:4,gpu:1", {"gpus": "gres/dcu"}, "gpus_per_node: 4"),
    ],
)
def test_the_number_of_gpus(put, gres, site, put_in):
    assert said(facts(put, sinfo=f"gpu*|up|1:00|2|16|64000|{gres}", **site), "GPUs").put == put_in


def test_a_type_that_the_partition_lacks_is_named(put):
    fact = said(facts(put, sinfo="gpu*|up|1:00|2|16|64000|gpu:a100:2", gpus="gpus-per-node:h100"), "GPU types")
    assert (fact.works, fact.put) == (False, "gpus: gpus-per-node:a100")


def test_limits_of_a_site(put):
    found = facts(put, sinfo="cpu*|up|1:00|2|16|64000|(null)")
    assert said(found, "arrays").put == "max_array: 20"  # the smaller of two limits
    assert said(found, "memory").put == "memory: none"
    assert "every job asks for it" in said(found, "requeue").detail
    assert said(found, "requeue").advice.startswith("preempted jobs end here")
    assert said(found, "a job").works is True


def test_a_site_whose_configuration_is_not_for_users(put):
    put("scontrol", "echo 'permission denied' >&2; exit 1")
    found = facts(put, sinfo="cpu*|up|1:00|2|16|64000|(null)")
    assert "set max_array to what the site says" in said(found, "configuration").advice
    assert said(found, "a job").works is True


@pytest.mark.parametrize(
    ("sinfo", "line"),
    [
        ("cpu*|up|1:00:00|2|4|8000|(null)", "resources: {all: {cpus: 4, memory_gb: 7}}"),
        ("cpu*|up|0:30:00|2|64|256000|(null)", "resources: {all: {minutes: 30}}"),
        ("cpu*|up|1:00:00|2|4|8000|(null)\ncpu*|up|1:00:00|2|16|8000|(null)", "resources: {all: {memory_gb: 7}}"),
        ("cpu*|up|1:00:00|2|64|256000|(null)", ""),
    ],
)
def test_a_task_beyond_the_nodes_is_answered_with_one_that_fits(put, sinfo, line):
    rows = "\n".join("|".join(row.split("|")[one] for one in (0, 2, 4, 5)) for row in sinfo.split("\n"))
    put("sinfo", f"case \"$*\" in *version*) echo slurm 25.05.1 ;; *%G*) echo '{sinfo}' ;; *) echo '{rows}' ;; esac")
    site = ClusterSpec(kind="slurm", resources={"all": {"cpus": 8, "memory_gb": 32, "minutes": 60}})
    fact = said(list(examine.examine(site)), "a job")
    assert (fact.put, fact.works) == (line, not line)
    if line:
        hold(fact.advice)


def test_several_findings_of_one_name_are_all_in_the_json():
    found = _by_name([Finding("shell", None, "a"), Finding("x", True, ""), Finding("shell", None, "b")])
    assert list(found) == ["shell", "x", "shell (2)"]


FILES = sorted(Path(__file__).parents[1].glob("jobs/clusters/*.yaml"))


@pytest.mark.parametrize("path", FILES, ids=[path.stem for path in FILES])
def test_the_files_that_ship_have_options_that_go_together(path):
    """At most one option each asks for memory and for GPUs, in the batch script of every kind of stage."""
    from hpc_astrossl.launch import executors
    from hpc_astrossl.launch.plan import Stage
    from hpc_astrossl.specs.jobs import KINDS, resources_of

    cluster = config.load(path, ClusterSpec)
    if cluster.kind == "local":
        return
    for kind in KINDS:
        stage = Stage(name=kind, items=(), resources=resources_of(kind, {"pretext": {"gpus": 1}}, cluster.resources))
        options = executors.slurm_options("e", stage, cluster, Path("/w"), after="", arrays=1)
        given = re.findall(r"^#SBATCH --([a-z-]+)", executors.script(1, Path("/w"), options), re.MULTILINE)
        assert len(given) == len(set(given))
        assert sum(name.startswith("mem") for name in given) == (cluster.memory != "none")
        gpus = sum(name.startswith("gpus") or name == "gres" for name in given)
        assert gpus == (stage.resources.gpus > 0)
        for name in ("partition", "account", "qos", "constraint"):
            assert (name in given) == (getattr(cluster, name) is not None)


@pytest.mark.parametrize("error", [KeyError("uid not found"), OSError("No username set in the environment")])
def test_a_user_whom_the_system_has_no_name_for(put, tmp_path, monkeypatch, error):
    """In a container; Python 3.13 has another error for it."""

    def nameless() -> str:
        raise error

    monkeypatch.setattr("getpass.getuser", nameless)
    put("sacctmgr", f'echo "$@" > {tmp_path}/asked; echo "prof||normal"')
    assert [fact.name for fact in facts(put, sinfo=SITES["no default"], account="school")].count("account") == 1
    assert f"user={os.getuid()} " in (tmp_path / "asked").read_text()


def test_what_a_wrapper_prints_beside_the_version_is_none_of_it(put):
    put("sinfo", "echo 'Welcome to alpha'; echo 'slurm-wlm 24.11.5'; echo '(site build)'")
    told = next(fact for fact in examine.examine(ClusterSpec(kind="slurm")) if fact.name == "Slurm")
    assert told.detail.startswith("slurm-wlm 24.11.5, cluster alpha, answers in")
