"""Plan's costs, status with time left, logs: from files as runs and tasks leave them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from launch_support import CHECKOUT, SMALL, astrossl, finish_run, make_workdir

from hpc_astrossl import config
from hpc_astrossl.errors import InputError
from hpc_astrossl.launch import cost
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.launch.ledger import Entry, Ledger, this_process
from hpc_astrossl.launch.logs import find, tail
from hpc_astrossl.launch.plan import pack
from hpc_astrossl.launch.prepare import write_experiment, write_task
from hpc_astrossl.launch.status import rows
from hpc_astrossl.launch.task import note
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import JobsSpec


def jobs(**change) -> JobsSpec:
    import yaml

    return config.parse(config.merge(yaml.safe_load(SMALL), change), JobsSpec, "r.yaml")


@pytest.fixture
def workdir(tmp_path) -> Path:
    return make_workdir(tmp_path, "stores/pretext.zarr", "stores/SG.zarr")


def stage_of(plan, name):
    return next(stage for stage in plan.stages if stage.name == name)


def test_limits_count_gpus_nodes_and_packed_tasks(workdir):
    plan = expand(jobs(seeds=[0, 1, 2], resources={"scratch": {"gpus": 4, "nodes": 2, "minutes": 90, "pack": 2}}))
    found = cost.cost(stage_of(plan, "scratch"), set(), workdir, {})
    assert (found.tasks, found.device, found.limit_hours, found.hours) == (2, "GPU", 2 * 1.5 * 8, None)
    assert 0.05 < found.disk_gb / 3 < 0.1
    done = {run.run_id for run in plan.runs}
    assert cost.cost(stage_of(plan, "scratch"), done, workdir, {}).tasks == 0


def test_hours_follow_from_epochs_objects_and_rates(workdir):
    phases = [{"trains": "head", "optimizer": "adam", "learning_rate": 1e-3, "epochs": 10},
              {"trains": "all", "optimizer": "sgd", "learning_rate": 1e-3, "epochs": 2}]  # fmt: skip
    plan = expand(jobs(seeds=[0], sizes=[36000, "all"], overrides={"all": {"phases": phases}}))
    stage, rates = stage_of(plan, "scratch"), {"all": 10.0, "head": 100.0}
    objects = 36000 + 50000  # the second is the store's own training split
    wanted = objects * (10 / 100 + 1 / (cost.FORWARD * 10) + 2 / 10) / 3600
    assert cost.cost(stage, set(), workdir, rates).hours == pytest.approx(wanted)
    assert cost.cost(stage, set(), workdir, {"all": 10.0}).hours is None
    (workdir / "stores/SG.zarr/zarr.json").unlink()
    assert cost.cost(stage, set(), workdir, rates).hours is None


def test_rates_are_measured_from_finished_runs(workdir):
    plan = expand(jobs())
    assert cost.measured(plan, workdir) == {}
    first, second, *_ = plan.runs
    for run, rates in ((first, (10, 30)), (second, (20, 20))):
        finish_run(workdir, "small", run.run_id)
        lines = [json.dumps({"phase": 0, "samples_per_second": rate}) for rate in rates]
        (workdir / "runs/small" / run.run_id / "metrics.jsonl").write_text("\n".join(lines) + "\n")
    assert cost.measured(plan, workdir) == {"all": 20}


def test_plan_tells_costs_and_what_they_rest_on(workdir):
    (workdir / "recipe.yaml").write_text(SMALL.replace("resources:", "resources:\n  all: {gpus: 1, minutes: 60}"))
    (workdir / "site.yaml").write_text("kind: slurm\nrates: {all: 100, head: 5000}\n")
    told = astrossl("plan", "recipe.yaml", "--cluster", "site.yaml", cwd=workdir)
    assert told.returncode == 0, told.stderr
    assert "GPU-hours: time limits add up to 5.0; estimate" in told.stdout
    assert (
        "estimates: no run stops early; samples/s a device, from finished runs or the cluster file: all 100, head"
        in (told.stdout)
    )
    assert "disk: about 0.3 GB" in told.stdout
    plain = astrossl("plan", "recipe.yaml", cwd=workdir)
    assert "no estimate: give rates in the cluster file, or run a part first" in plain.stdout
    record = json.loads(astrossl("plan", "recipe.yaml", "--cluster", "site.yaml", "--json", cwd=workdir).stdout)
    scratch = next(stage for stage in record["stages"] if stage["stage"] == "scratch")
    assert (scratch["tasks"], scratch["device"], scratch["limit_hours"]) == (2, "GPU", 2.0)
    assert scratch["hours"] > 1


@pytest.mark.parametrize(("visible", "gpus"), [("", 0), ("0,1", 1)])
def test_a_plan_for_this_machine_asks_for_the_gpus_that_it_has(workdir, visible, gpus):
    (workdir / "recipe.yaml").write_text(SMALL.replace("resources:", "resources:\n  all: {gpus: 1}"))
    told = astrossl("plan", "recipe.yaml", "--cluster", "local", cwd=workdir, CUDA_VISIBLE_DEVICES=visible)
    assert told.returncode == 0, told.stderr
    assert ("1 GPU" in told.stdout) == (gpus > 0)
    assert ("GPU-hours" in told.stdout) == (gpus > 0)


def test_rates_are_checked():
    with pytest.raises(InputError, match="rates: all and head, each positive; found al: 3"):
        config.parse({"kind": "slurm", "rates": {"al": 3}}, ClusterSpec, "c.yaml")


def test_ranks_and_nodes_in_a_batch_script(workdir):
    (workdir / "recipe.yaml").write_text(
        SMALL.replace("resources:", "resources:\n  scratch: {gpus: 4, nodes: 2, cpus: 8, memory_gb: 10}")
    )
    (workdir / "site.yaml").write_text("kind: slurm\npython: python3\n")
    done = astrossl("submit", "recipe.yaml", "--cluster", "site.yaml", "--dry-run", cwd=workdir)
    assert done.returncode == 0, done.stderr
    made = done.stdout
    scratch = made[made.index("# ---- scratch") : made.index("# ---- features")]
    for line in ("--nodes=2", "--ntasks-per-node=4", "--gpus-per-node=4", "--cpus-per-task=8", "--mem=40960M"):
        assert f"#SBATCH {line}\n" in scratch


@pytest.mark.parametrize(
    ("resources", "site", "words"),
    [
        ({"all": {"ranks": 2}}, {}, "resources of report: runs as one process, and was given 1 nodes of 2 ranks"),
        ({"scratch": {"gpus": 8}}, {"gpus_per_node": 4}, "gpus 8, and a node of this cluster has 4; take more nodes"),
        (
            {"scratch": {"gpus": 2}},
            {"engine": "single"},
            "2 ranks need engine horovod, and the cluster file says single",
        ),
    ],
)
def test_ranks_that_cannot_be_are_refused(resources, site, words):
    with pytest.raises(InputError, match=words):
        expand(jobs(resources=resources), cluster=ClusterSpec(kind="slurm", **site))


def test_normalisation_by_batches_on_several_ranks_is_refused_before_anything_is_sent():
    model = {"backbone": "resnet18", "norm": "batch"}
    asked = {"resources": {"scratch": {"gpus": 2}}, "overrides": {"all": {"model": model}}}
    with pytest.raises(InputError, match=r"resources of scratch: 2 ranks, and \S+ has model.norm batch"):
        expand(jobs(**asked), cluster=ClusterSpec(kind="slurm"))
    assert expand(jobs(**asked), cluster=ClusterSpec(kind="local"))


def test_a_site_without_a_scheduler_runs_one_rank():
    plan = expand(jobs(resources={"scratch": {"gpus": 4, "nodes": 2}}), cluster=ClusterSpec(kind="local"))
    need = stage_of(plan, "scratch").resources
    assert (need.world, need.gpus) == (1, 1)


@pytest.fixture
def submitted(workdir):
    """Every task in the ledger as this process's, none begun; (workdir, ledger, works by stage)."""
    plan = expand(jobs())
    ledger, works = Ledger(workdir, "small"), {}
    write_experiment(plan, "small", workdir)
    for stage in plan.stages:
        for work in pack(stage, stage.items):
            write_task(work, ledger, workdir)
            keys = tuple(item.key for item in work.items)
            ledger.add([Entry(kind="local", stage=stage.name, task=work.name, items=keys, job="9", **this_process())])
            works.setdefault(stage.name, []).append(work)
    return workdir, ledger, works


def test_time_left_is_of_the_phase_that_goes_on(submitted):
    workdir, ledger, works = submitted
    work = works["scratch"][0]
    note(ledger.task_file(work.name), 0, "start")
    folder = workdir / "runs/small" / work.items[0].key
    (folder / "metrics.jsonl").write_text('{"phase": 0, "epoch": 50, "seconds": 6.0}\n')
    row = {row.key: row for row in rows("small", workdir)}[work.items[0].key]
    assert (row.epoch, row.epochs, row.left, row.starts) == (50, 200, 900.0, 1)
    told = astrossl("status", "small", cwd=workdir).stdout
    assert f"running  {row.key}: epoch 50 of at most 200, this phase at most 15 min more, last heard of" in told


def test_watch_ends_with_the_experiment(submitted):
    workdir, _, works = submitted
    watching = subprocess.Popen(
        [sys.executable, "-m", "hpc_astrossl", "status", "small", "--watch", "0.2", "--workdir", workdir],
        cwd=CHECKOUT, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert watching.stdout.readline().split() == ["stage", "queued"]
    assert watching.poll() is None
    for stage in works.values():
        for work in stage:
            for number, item in enumerate(work.items):
                if item.run is not None:
                    finish_run(workdir, "small", item.key)
                else:
                    (workdir / item.produces).parent.mkdir(parents=True)
                    (workdir / item.produces).touch()
                    note(Ledger(workdir, "small").task_file(work.name), number, "end", status=0, reason=None)
    rest, _ = watching.communicate(timeout=30)
    assert watching.returncode == 0
    last = [line.split() for line in rest.rpartition("stage ")[2].splitlines()]
    assert last[:3] == [["done"], ["pretext", "1"], ["scratch", "2"]]


def test_status_without_squeue_says_so_and_tells_what_the_files_tell(submitted):
    workdir, ledger, works = submitted
    work = works["pretext"][0]
    ledger.add([Entry(kind="slurm", stage="pretext", task=work.name, items=(work.items[0].key,), job="5")])
    finish_run(workdir, "small", works["scratch"][0].items[0].key)
    told = astrossl("status", "small", cwd=workdir, PATH=str(workdir))
    assert told.returncode == 0, told.stderr
    assert "Slurm could not be asked" in told.stdout
    assert "squeue is not on this machine" in told.stdout
    told = json.loads(astrossl("status", "small", "--json", cwd=workdir, PATH=str(workdir)).stdout)
    assert told["stages"]["scratch"] == {"done": 1, "queued": 1}


def test_logs_of_a_run_by_the_beginning_of_its_name(submitted):
    workdir, ledger, works = submitted
    work = works["features-magnitudes"][0]
    key = work.items[0].key
    with pytest.raises(InputError, match="has printed nothing yet"):
        find(key, workdir)
    ledger.logs.mkdir(parents=True)
    ledger.log_file("9").write_text("one\ntwo\rthree\nfour\n")
    assert find(key, workdir) == find(f"runs/small/{key}/", workdir) == [ledger.log_file("9")]
    (workdir / "runs/small" / key / "log").write_text("of the run\n")
    printed = astrossl("logs", key[:-3], "--lines", "2", cwd=workdir).stdout
    assert printed.index("of the run") < printed.index("three\nfour")
    assert "one" not in printed
    assert find("small/report", workdir) == [ledger.log_file("9")]
    with pytest.raises(InputError, match=r"may be SG_features-magnitudes.*; give more of its name"):
        find("SG_features", workdir)
    with pytest.raises(InputError, match="unknown run 'MG'; allowed: "):
        find("MG", workdir)
    assert tail(ledger.log_file("9"), 1) == "four"


def test_slurms_word_for_an_end_and_the_batch_scripts_note(submitted, monkeypatch):
    from hpc_astrossl.launch import queue

    workdir, ledger, works = submitted
    for number, work in enumerate(works["scratch"]):
        keys = (work.items[0].key,)
        ledger.add([Entry(kind="slurm", stage="scratch", task=work.name, items=keys, job=f"4_{number}")])
        note(ledger.task_file(work.name), 0, "start")
    ledger.logs.mkdir(parents=True)
    (ledger.logs / "4_0.ends").write_text("137 n1\n137 n2\n")
    squeue = workdir / "bin/squeue"
    squeue.parent.mkdir()
    squeue.write_text("#!/bin/sh\necho '4_0|OUT_OF_MEMORY|None'\necho '4_1|TIMEOUT|TimeLimit'\n")
    squeue.chmod(0o755)
    monkeypatch.setenv("PATH", str(squeue.parent), prepend=":")
    told = {row.job: row for row in rows("small", workdir)}
    assert told["4_0"].state == told["4_1"].state == "failed"
    assert queue.WORDS["OUT_OF_MEMORY"] in told["4_0"].reason
    assert "killed by SIGKILL (out of memory, or somebody's kill) on n2, start 2" in told["4_0"].reason
    assert "it reached its time limit before it could save" in told["4_1"].reason


def test_plan_submit_status_load_nothing_heavy(workdir):
    """By what is loaded, not by the clock: argument parsing, expansion, validation and the ledger."""
    (workdir / "recipe.yaml").write_text(SMALL)
    for command in (["plan", "recipe.yaml"], ["submit", "recipe.yaml", "--cluster", "slurm_gpu", "--dry-run"]):
        code = (
            f"import sys\nfrom hpc_astrossl import cli\nassert cli.main({command!r}) == 0\n"
            "print(sorted({name.partition('.')[0] for name in sys.modules} & set("
            "'numpy torch torchvision nvidia horovod zarr astropy scipy PIL matplotlib sklearn'.split())))"
        )
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=workdir, capture_output=True, text=True,
            env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(CHECKOUT), "HOME": str(workdir)},
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert done.stdout.splitlines()[-1] == "[]", command
