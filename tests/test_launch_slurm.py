"""Batch scripts, compared whole with golden ones, and how a plan becomes arrays. Nothing here needs a Slurm."""

import re
import subprocess
from pathlib import Path

import pytest
from launch_support import SMALL, astrossl, make_workdir

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import executors, queue, slurm
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.ledger import Entry, Ledger
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec

GOLDEN = Path(__file__).parent / "golden"
SITE = """\
kind: slurm
partition: gpu
account: survey
python: apptainer exec --nv --bind "/scratch disk" image.sif python3
setup: [module load apptainer]
environment: {ASTROSSL_CACHE: "/scratch disk/cache", GREETING: "it's $HOME"}
max_array: 3
parallel: 8
sbatch: {mail-type: END}
resources:
  all: {cpus: 4, memory_gb: 7.5}
"""


def jobs(text=SMALL, **change) -> JobsSpec:
    import yaml

    return config.parse(config.merge(yaml.safe_load(text), change), JobsSpec, "r.yaml")


def arrays(spec, tmp_path, alive=(), **site):
    """What a dry run would send."""
    cluster = ClusterSpec(kind="slurm", python="python3", **site)
    plan = expand(spec, cluster=cluster)
    todo = {stage.name: [item for item in stage.items if item.key not in dict(alive)] for stage in plan.stages}
    ledger = Ledger(tmp_path, plan.experiment)
    return list(slurm.submit(plan, todo, dict(alive), cluster=cluster, ledger=ledger, workdir=tmp_path, dry_run=True))


@pytest.mark.parametrize(
    ("name", "recipe"),
    [
        ("small", SMALL),
        ("split", SMALL.replace("[0, 1]", "[0, 1, 2, 3]").replace("resources:", "resources:\n  all: {gpus: 1}")),
    ],
)
def test_batch_scripts_are_the_golden_ones(name, recipe, tmp_path):
    workdir = make_workdir(tmp_path / "my disk", "stores/pretext.zarr", "stores/SG.zarr")
    (workdir / "recipe.yaml").write_text(recipe)
    (workdir / "site.yaml").write_text(SITE)
    done = astrossl("submit", "recipe.yaml", "--cluster", "site.yaml", "--dry-run", cwd=workdir)
    assert done.returncode == 0, done.stderr
    assert done.stdout.replace(str(tmp_path), "/WORK") == (GOLDEN / f"{name}.sh").read_text()
    assert not (workdir / "runs").exists()


def test_a_batch_script_is_valid_shell(tmp_path):
    for array in arrays(jobs(), tmp_path / "it's a disk"):
        checked = subprocess.run(["bash", "-n"], input=array.script, text=True, capture_output=True)
        assert (checked.returncode, checked.stderr) == (0, "")


def test_the_script_ends_as_its_task_ended_and_requeues_when_asked(tmp_path):
    """The end of the script, run by a real shell after a command that exits with 3."""
    calls = tmp_path / "scontrol"
    calls.write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/called"\n')
    calls.chmod(0o755)
    script = arrays(jobs(), tmp_path / "my disk")[0].script
    tail = script[script.index("# teardown") :]
    logs = Ledger(tmp_path / "my disk", "small").logs
    logs.mkdir(parents=True)
    (logs / "7_2.requeue").touch()
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "9"}
    plain = subprocess.run(["bash", "-c", f"(exit 3)\n{tail}"], env=environment)
    assert plain.returncode == 3
    assert not (tmp_path / "called").exists()
    environment |= {"SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": "2"}
    assert subprocess.run(["bash", "-c", f"(exit 3)\n{tail}"], env=environment).returncode == 3
    assert (tmp_path / "called").read_text() == "requeue 7_2\n"
    assert not (logs / "7_2.requeue").exists()


@pytest.mark.parametrize(
    ("said", "requeued"),
    [
        ("echo RUNNING", True),
        (r"printf '\e[32mRUNNING\e[0m\r\n'", True),
        ("echo 'Welcome to alpha. 3 nodes are down'; echo RUNNING", True),
        ("echo 'Willkommen'", True),  # no state: no reason to forbid it
        ("exit 1", True),
        ("echo Notice; echo COMPLETING", False),
        (r"printf 'CANCELLED\r\n'", False),
        ("echo RUNNING; echo 'Note: 3 FAILED nodes, 7 jobs PENDING'", True),
        ("echo 'COMPLETING jobs are shown'; echo ' RUNNING '", True),
        ("echo SIGNALING", True),
        ("echo RESIZING", True),
        ("echo STAGE_OUT", True),
        (r"printf 'Universit\xe4t\n'; echo COMPLETING", False),
        (r"printf 'Universit\xe4t\n\0\n'; echo RUNNING", True),
        (r"printf 'x\0\n'; echo CANCELLED", False),
        ("echo REQUEUED", False),
        ("echo REQUEUE_HOLD", False),
        ("echo CONFIGURING", False),
    ],
)
def test_whatever_a_wrapper_prints_beside_the_state_costs_no_retry(tmp_path, said, requeued):
    """The end of the script after a kill, beside shims of squeue and scontrol."""
    (tmp_path / "squeue").write_text(f"#!/bin/bash\n{said}\n")
    (tmp_path / "sleep").write_text("#!/bin/sh\n")
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\n[ "$1" = show ] || touch "{tmp_path}/called"\n')
    for name in ("squeue", "scontrol", "sleep"):
        (tmp_path / name).chmod(0o755)
    script = arrays(jobs(), tmp_path)[0].script
    Ledger(tmp_path, "small").logs.mkdir(parents=True)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "9", "LC_ALL": "C.UTF-8"}
    tail = script[script.index("# teardown") :]
    assert subprocess.run(["bash", "-c", f"(exit 137)\n{tail}"], env=environment).returncode == 137
    assert (tmp_path / "called").exists() is requeued


def test_a_grep_that_colours_what_it_finds_costs_no_retry(tmp_path):
    """GREP_OPTIONS of the submitting shell; grep obeys it before 3.6, which systems of 2019 still have."""
    (tmp_path / "grep").write_text(
        "#!/bin/bash\n"
        'found=$(/usr/bin/grep "$@") || exit\n'
        r"""[ -z "$GREP_OPTIONS" ] && echo "$found" || printf '\e[01;31m\e[K%s\e[m\e[K\n' "$found" """
    )
    (tmp_path / "squeue").write_text("#!/bin/sh\necho RUNNING\n")
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\ntouch "{tmp_path}/called"\n')
    for name in ("grep", "squeue", "scontrol"):
        (tmp_path / name).chmod(0o755)
    script = arrays(jobs(), tmp_path)[0].script
    Ledger(tmp_path, "small").logs.mkdir(parents=True)
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "9", "GREP_OPTIONS": "--color=always"}
    tail = script[script.index("# teardown") :]
    assert subprocess.run(["bash", "-c", f"(exit 137)\n{tail}"], env=environment).returncode == 137
    assert (tmp_path / "called").exists()


@pytest.mark.parametrize("where", ["setup", "BASH_ENV"])
@pytest.mark.parametrize("strict", ["set -e", "set -euo pipefail", "trap 'exit 1' ERR"])
def test_what_makes_the_shell_strict_costs_no_retry(tmp_path, strict, where):
    """The script from its setup on, srun a shim that ends as if it was killed."""
    (tmp_path / "squeue").write_text("#!/bin/sh\necho RUNNING\n")
    (tmp_path / "srun").write_text("#!/bin/sh\nexit 137\n")
    (tmp_path / "scontrol").write_text(f'#!/bin/sh\necho "$@" >> "{tmp_path}/called"\n')
    for name in ("squeue", "scontrol", "srun"):
        (tmp_path / name).chmod(0o755)
    Ledger(tmp_path, "small").logs.mkdir(parents=True)
    script = arrays(jobs(), tmp_path, setup=(strict,) if where == "setup" else ())[0].script
    assert (strict in script) == (where == "setup")
    (tmp_path / "strict").write_text(strict + "\n")
    environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "SLURM_JOB_ID": "9"}
    environment |= {"BASH_ENV": str(tmp_path / "strict")} if where == "BASH_ENV" else {}
    assert subprocess.run(["bash", "-c", script], env=environment).returncode == 137
    assert (tmp_path / "called").read_text() == "requeue 9\n"


@pytest.mark.parametrize(
    ("seeds", "limit", "sizes"), [(4, 3, [3, 1]), (4, 2, [2, 2]), (4, 1, [1, 1, 1, 1]), (4, 9, [4])]
)
def test_arrays_are_split_at_the_limit_and_share_the_throttle(seeds, limit, sizes, tmp_path):
    spec = jobs(seeds=list(range(seeds)), schemes=["scratch"], report=False)
    sent = [one for one in arrays(spec, tmp_path, max_array=limit, parallel=4) if one.stage == "scratch"]
    assert [len(one.works) for one in sent] == sizes
    keys = [item.key for one in sent for work in one.works for item in work.items]
    assert len(keys) == len(set(keys)) == 4
    throttles = [int(n) for one in sent for n in re.findall(r"--array=\S+%(\d+)", one.script)]
    assert sum(throttles) <= 4


def test_dependencies_name_the_jobs_that_make_the_needs(tmp_path):
    after = {one.stage: one.after for one in arrays(jobs(), tmp_path)}
    assert after == {
        "pretext": "",
        "scratch": "",
        "features-magnitudes": "afterok:<pretext>",
        "report": "afterany:<pretext>:<scratch>:<features-magnitudes>",
    }


def test_new_arrays_wait_for_what_an_earlier_submission_queued(tmp_path):
    (pretext,) = expand(jobs()).stages[0].items
    alive = {pretext.key: Entry(kind="slurm", job="41_7", items=(pretext.key,))}
    after = {one.stage: one.after for one in arrays(jobs(), tmp_path, alive=alive)}
    assert after["features-magnitudes"] == "afterok:41_7"
    assert after["report"].startswith("afterany:41:")


def test_slurm_cannot_wait_for_a_local_submission(tmp_path):
    (pretext,) = expand(jobs()).stages[0].items
    alive = {pretext.key: Entry(kind="local", host="desk", pid=12, started=1, items=(pretext.key,))}
    with pytest.raises(InputError, match=r"is being made by astrossl submit on desk \(process 12\)"):
        arrays(jobs(), tmp_path, alive=alive)


@pytest.mark.parametrize("name", ["50%j", "two\nlines", "back\\slash"])
def test_a_work_directory_that_slurm_would_misread_is_refused(tmp_path, name):
    with pytest.raises(InputError, match=r"meanings of their own .* a line break for the path's end; rename it"):
        arrays(jobs(), tmp_path / name)


def test_an_image_that_is_not_there_is_found_before_anything_is_sent(tmp_path):
    cluster = ClusterSpec(kind="slurm", python=f"apptainer exec --bind /a {tmp_path}/x.sif python3")
    with pytest.raises(InputError, match=r"names the image .*/x.sif, which does not exist; build it"):
        queue.check_site(expand(jobs()), cluster)


def test_a_short_limit_leaves_half_of_it_before_the_signal(tmp_path):
    script = arrays(jobs(resources={"all": {"minutes": 2}}), tmp_path, signal_delay=600)[0].script
    assert "#SBATCH --signal=USR2@60" in script


def test_the_variables_of_an_enclosing_job_do_not_leak():
    shell = {"SLURM_JOB_ID": "7", "SLURM_CPU_BIND": "x", "SBATCH_PARTITION": "x", "SLURM_CONF": "x", "SLURM_JWT": "x",
             "SRUN_OUTPUT": "x", "SRUN_NTASKS": "4"}  # fmt: skip
    assert executors.outside_of_jobs({**shell, "HOME": "/me", "SQUEUE_USERS": "you"}) == {
        "HOME": "/me",
        "SLURM_CONF": "x",
        "SLURM_JWT": "x",
    }


@pytest.mark.parametrize(
    "name", ["SLURM_ROOT", "SLURM_HOME", "SLURM_BIN_PATH", "SLURM_LIB", "SLURM_INSTALL_DIR", "SLURM_VERSION"]
)
def test_what_a_wrapper_may_need_to_find_slurm_stays(name):
    assert executors.outside_of_jobs({name: "/opt/slurm"}) == {name: "/opt/slurm"}


def test_a_task_is_no_rank_of_the_shell_that_sends_it_and_has_none_of_its_gpus():
    """torchrun's or horovodrun's words in the shell: a task of one process would wait for the others."""
    launcher = {"RANK": "0", "WORLD_SIZE": "2", "LOCAL_RANK": "0", "MASTER_ADDR": "n1", "TORCHELASTIC_RUN_ID": "x",
                "HOROVOD_RANK": "0", "HOROVOD_SIZE": "2", "HOROVOD_GLOO_RENDEZVOUS_ADDR": "n1"}  # fmt: skip
    kept = {"HOROVOD_GLOO_IFACE": "ib0", "GLOO_SOCKET_IFNAME": "ib0", "CUDA_VISIBLE_DEVICES": "1"}
    assert executors.outside_of_jobs(launcher | kept) == kept
    assert "CUDA_VISIBLE_DEVICES" not in executors.outside_of_jobs({**kept, "SLURM_JOB_ID": "7"})


def test_without_sbatch_the_message_says_where_to_submit(tmp_path, monkeypatch):
    workdir = make_workdir(tmp_path, "stores/pretext.zarr", "stores/SG.zarr")
    (workdir / "recipe.yaml").write_text(SMALL)
    done = astrossl("submit", "recipe.yaml", "--cluster", "slurm_cpu", cwd=workdir, PATH=str(tmp_path))
    assert done.returncode == 2
    assert "sbatch is not on this machine" in done.stderr
    assert not (workdir / "runs/small/.tasks/jobs.jsonl").exists()
