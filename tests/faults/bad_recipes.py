"""Rows of the table: recipes of preprocessing, experiments, sites and runs that are wrong, hostile, or oddly named."""

from collections.abc import Callable
from pathlib import Path

from faults import small_release as release
from faults import stock
from faults.cases import REFUSED, TOLERATED, Case, edit, nothing, spoiling

JOBS = """\
experiment: tiny
pretext: {store: toy}
sets: {SG: {store: toy}}
schemes: [scratch, features-magnitudes]
seeds: [0]
"""
SITE = "kind: slurm\npartition: debug\n"
BILLION = "".join(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 10))
RUNS_CODE = '!!python/object/apply:os.system ["touch was-here"]'
ODD = 'it\'s "größe" $(touch was-here); 100 %'


def planned(folder: Path) -> list[str]:
    (folder / "jobs.yaml").write_text(JOBS)
    (folder / "site.yaml").write_text(SITE)
    jobs, site = str(folder / "jobs.yaml"), str(folder / "site.yaml")
    return ["plan", jobs, "--cluster", site, "--workdir", str(folder)]


def written(name: str, text: str | bytes) -> Callable[[Path], object]:
    """A row's spoiling: another text of a file."""
    return lambda folder: (folder / name).write_bytes(text if isinstance(text, bytes) else text.encode())


def changed(name: str, old: str, new: str) -> Callable[[Path], object]:
    """A row's spoiling: part of a file replaced."""
    return lambda folder: edit(folder / name, (old, new))


def oddly_named(folder: Path) -> list[str]:
    """The release in a folder, to a folder, by a recipe, whose names a shell would stumble over."""
    place = folder / ODD
    place.mkdir()
    release.make(place)
    (place / "recipe.yaml").rename(place / f"{ODD}.yaml")
    source, out = str(place / "release"), str(place / ODD)
    return ["preprocess", str(place / f"{ODD}.yaml"), "--source", source, "--out", out, "--workers", "1"]


def upwards(folder: Path) -> list[str]:
    """The release, its store beside it, by ways that go up and down again."""
    release.make(folder)
    (folder / "a" / "b").mkdir(parents=True)
    base = folder / "a" / "b" / ".." / ".."
    source, out = str(base / "release"), str(base / "stores")
    return ["preprocess", str(base / "recipe.yaml"), "--source", source, "--out", out, "--workers", "1"]


def trained(folder: Path) -> list[str]:
    stock.copy(folder)
    return ["train", str(folder / "run.yaml"), "--workdir", str(folder), "--set", "seed=1"]


recipe, plan = spoiling("recipe", release.make), spoiling("jobs", planned)
site, train = spoiling("cluster", planned), spoiling("run", trained)
CASES = [
    recipe("not there", lambda f: (f / "recipe.yaml").unlink(), REFUSED, r"recipe\.yaml: no such file"),
    recipe("empty", written("recipe.yaml", ""), REFUSED, "expected a mapping of keys to values, found NoneType"),
    recipe("binary", written("recipe.yaml", bytes(range(256))), REFUSED, "cannot be read as UTF-8 text"),
    recipe("no YAML", changed("recipe.yaml", "size: 16", "size: [16"), REFUSED, r"recipe\.yaml: not valid YAML: .*li"),
    recipe("tabs", changed("recipe.yaml", "  file:", "\tfile:"), REFUSED, "not valid YAML: .*'\\\\t'"),
    recipe("unknown key", changed("recipe.yaml", "survey: tiny", "survey: tiny\nbands: [g]"), REFUSED,
           r"recipe\.yaml: unknown key 'bands'; allowed: catalogue, .*"),
    recipe("unknown key, deeper", changed("recipe.yaml", "  ra: RA", "  raa: RA"), REFUSED,
           r"catalogue: unknown key 'raa'; allowed: .*; did you mean 'ra'\?"),
    recipe("key twice", changed("recipe.yaml", "size: 16", "size: 16\nsize: 32"), REFUSED, "key 'size' is repeated"),
    recipe("text for a number", changed("recipe.yaml", "size: 16", "size: sixteen"), REFUSED,
           "size: expected a whole number, found 'sixteen'"),
    recipe("number for a list", changed("recipe.yaml", "[g, r]", "7"), REFUSED, "bands: expected a list, found 7"),
    recipe("a number of 5,000 digits", changed("recipe.yaml", "size: 16", f"size: 0x{'f' * 5000}"), REFUSED,
           r"recipe\.yaml: size: expected a whole number"),
    recipe("a number beyond 64 bits", changed("recipe.yaml", "size: 16", f"size: {10**30}"), REFUSED,
           r"recipe\.yaml: not valid YAML: line 3: number 1000\d+ is too large"),
    recipe("hours for minutes", changed("recipe.yaml", "size: 16", "size: 1:30"), REFUSED,
           "size: expected a whole number, found '1:30'"),
    recipe("an octal number", changed("recipe.yaml", "size: 16", "size: 020"), REFUSED,
           "size: expected a whole number, found '020'"),
    recipe("billion laughs", written("recipe.yaml", f"a0: &a0 [ha, ha]\n{BILLION}"), REFUSED,
           r"not valid YAML: line 2: aliases \(\*name\) are not allowed"),
    recipe("nested a hundred thousand times", written("recipe.yaml", "a: " + "[" * 100_000), REFUSED,
           "not valid YAML"),
    recipe("a tag that runs code", changed("recipe.yaml", "size: 16", f"size: {RUNS_CODE}"), REFUSED,
           r"not valid YAML: line 3: tags \(!name\) are not allowed"),
    recipe("a tag that does not", changed("recipe.yaml", "size: 16", "size: !!timestamp noon"), REFUSED,
           r"line 3: tags \(!name\) are not allowed"),
    recipe("braces that are no word", changed("recipe.yaml", '"{field}_{band}.fits"', '"{field}_{band}{x[0]}.fits"'),
           REFUSED, r"bands: .* is no pattern: braces may hold a plain word only"),
    recipe("braces of another word", changed("recipe.yaml", '"{field}_{band}.fits"', '"{field}_{band}_{night}.fits"'),
           REFUSED, r"unknown word in braces in bands 'night'; allowed: band, field"),
    recipe("a store named upwards", changed("recipe.yaml", "  tiny: {", "  ../tiny: {"), REFUSED,
           r"stores\.\.\./tiny: a store's name begins with a letter or digit"),
    recipe("a setting without a value", nothing, REFUSED, "--set 'size': expected KEY=VALUE", "--set", "size"),
    recipe("a setting that is no YAML", nothing, REFUSED, "--set size: not valid YAML", "--set", "size=[[1"),
    recipe("a setting nested without end", nothing, REFUSED, "--set size: not valid", "--set", "size=" + "[" * 9999),
    recipe("a setting with a tag", nothing, REFUSED, r"--set size: .*tags \(!name\)", "--set", "size=!!bool maybe"),
    Case("recipe", "blanks, quotes, umlauts, a command in every path", oddly_named, TOLERATED, "kept 24"),
    Case("recipe", "ways that go up", upwards, TOLERATED, "kept 24"),
    plan("unknown key", changed("jobs.yaml", "seeds", "seed"), REFUSED, r"unknown key 'seed'; .* mean 'seeds'\?"),
    plan("unknown scheme", changed("jobs.yaml", "[scratch,", "[scrach,"), REFUSED, r"scheme 'scrach'.*'scratch'\?"),
    plan("an experiment named upwards", changed("jobs.yaml", "experiment: tiny", "experiment: ../../tiny"), REFUSED,
         "experiment must begin with a letter or digit"),
    plan("an experiment of stores alone named upwards", written("jobs.yaml", "experiment: ../tiny\npreprocess:\n- "
         "{recipe: a, source: b, out: c.zarr}\n"), REFUSED, "experiment must begin with a letter or digit"),
    plan("text for seeds", changed("jobs.yaml", "[0]", "[zero]"), REFUSED, r"seeds\[0\]: expected a whole number"),
    plan("an override of what the grid decides", changed("jobs.yaml", "seeds: [0]", "overrides: {all: {seed: 3}}"),
         REFUSED, r"overrides\.all: seed cannot be overridden"),
    plan("billion laughs", written("jobs.yaml", f"a0: &a0 [ha, ha]\n{BILLION}"), REFUSED, "aliases .* are not allowed"),
    site("unknown key", changed("site.yaml", "partition", "queue"), REFUSED, "site.yaml: unknown key 'queue'"),
    site("a variable that is no name", changed("site.yaml", "kind: slurm", "kind: slurm\nenvironment: {'A;id': b}"),
         REFUSED, "environment: 'A;id' is no name of a variable"),
    site("an option that is two", changed("site.yaml", "kind: slurm",
         "kind: slurm\nsbatch: {\"comment\\n#SBATCH -p\": x}"), REFUSED, "sbatch: .* is no name of an option"),
    site("a partition of two lines", changed("site.yaml", "debug", "\"debug\\n#SBATCH --uid=0\""), REFUSED,
         "partition must be one line"),
    site("a tag that runs code", changed("site.yaml", "debug", RUNS_CODE), REFUSED, "tags .* are not allowed"),
    train("unknown key", changed("run.yaml", "threads:", "thread:"), REFUSED, r"unknown key 'thread'.*'threads'\?"),
    train("experiment named upwards", nothing, REFUSED, "experiment must begin with", "--set", "experiment=../x"),
    train("weights named upwards", nothing, REFUSED, "weights must begin with.*found '../x'", "--set", "weights=../x"),
    train("weights of a run named upwards", nothing, REFUSED, "weights must begin with.*found '../../x'", "--set",
          "weights=run:../../x"),
    train("learning rate without end", nothing, REFUSED, "--set phases: .*number 1e999 is too large", "--set",
          "phases=[{trains: head, optimizer: adam, learning_rate: 1e999, epochs: 1}]"),
]  # fmt: skip
