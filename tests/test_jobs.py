"""Every recipe in jobs/ and every site in jobs/clusters is loaded strictly, expanded and dry-run."""

from pathlib import Path

import pytest
from launch_support import astrossl, make_workdir

from hpc_astrossl import config
from hpc_astrossl.cli import main
from hpc_astrossl.cli.new import kinds
from hpc_astrossl.launch.grid import expand
from hpc_astrossl.specs.cluster import ClusterSpec
from hpc_astrossl.specs.jobs import TRAINING, JobsSpec, kind_of

FOLDER = Path(__file__).parent.parent / "jobs"
RECIPES = sorted(FOLDER.glob("*.yaml"))
CLUSTERS = sorted((FOLDER / "clusters").glob("*.yaml"))


def name(path: Path) -> str:
    return path.stem


def load(recipe: str) -> JobsSpec:
    return config.load(FOLDER / f"{recipe}.yaml", JobsSpec)


def test_the_recipes_are_there():
    assert {"demo", "paper", "lowdata"} <= set(map(name, RECIPES))
    assert {"local", "slurm_cpu", "slurm_gpu"} <= set(map(name, CLUSTERS))


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_recipe_is_dry_run_on_every_site(recipe, tmp_path):
    jobs = config.load(recipe, JobsSpec)
    made = {item.out for item in jobs.preprocess}
    stores = {one.store for one in jobs.sets.values()} | ({jobs.pretext.store} if jobs.pretext else set())
    stores |= {one["store"] for one in jobs.pretexts.values()}
    make_workdir(tmp_path, *stores - made)
    for item in jobs.preprocess:
        (tmp_path / item.recipe).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / item.recipe).write_text((FOLDER.parent / item.recipe).read_text())
        (tmp_path / item.source).mkdir(parents=True, exist_ok=True)
    for site in CLUSTERS:
        done = astrossl("submit", recipe, "--cluster", site, "--dry-run", cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        kind = config.load(site, ClusterSpec).kind
        assert done.stdout.count("#SBATCH --job-name") == (0 if kind == "local" else done.stdout.count("# ----"))
        for run in expand(jobs, unavailable={"imagenet": "none in this test"}).runs:
            assert f"runs/{jobs.experiment}/{run.run_id}/config.yaml" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_what_trains_asks_for_a_gpu_where_there_are_some(tmp_path):
    """Files to start from, too; the site decides where there are none."""
    started = []
    for kind in kinds("jobs"):
        started.append(tmp_path / f"{kind}.yaml")
        assert main(["new", "jobs", kind, "--out", str(started[-1])]) == 0
    site = ClusterSpec(kind="slurm", gpus_per_node=4)
    for recipe in (*RECIPES, *started):
        for stage in expand(config.load(recipe, JobsSpec), cluster=site).stages:
            trains = kind_of(stage.name) in TRAINING
            assert (stage.resources.gpus > 0) == trains, (recipe.name, stage.name)


@pytest.mark.parametrize("recipe", RECIPES, ids=name)
def test_recipe_opens_with_its_claim(recipe):
    head = [line for line in recipe.read_text().splitlines() if line.startswith("#")]
    for word in ("command:", "cost:", "expected:"):
        assert any(line.startswith(f"#   {word}") for line in head), word


def test_paper_is_six_sets_five_schemes_three_seeds():
    runs = [run for run in expand(load("paper")).runs if run.set != "pretext"]
    assert len(runs) == 6 * 5 * 3
    assert {run.set for run in runs} == {"SG", "SGQ", "MG", "EF-2", "EF-4", "EF-15"}


def test_lowdata_is_eighteen_sizes_of_two_sets():
    runs = [run for run in expand(load("lowdata")).runs if run.set != "pretext"]
    sizes = {*range(100, 1001, 100), *range(1500, 3001, 500), *range(10000, 40001, 10000)}
    assert {run.data.train_size for run in runs} == sizes
    assert len(sizes) == 18
    assert len(runs) == 2 * 5 * 18 * 3


def test_lowdata_shares_the_pretext_run_of_the_paper():
    paper, lowdata = (expand(load(recipe)).runs for recipe in ("paper", "lowdata"))
    assert {run.run_id for run in paper} & {run.run_id for run in lowdata} == {paper[0].run_id}
    assert paper[0].scheme == "pretext"
