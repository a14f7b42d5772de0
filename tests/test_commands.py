"""Every command that is printed anywhere is one that the program takes, with files and keys that are there."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from hpc_astrossl import cli
from hpc_astrossl.specs.recipe import load_recipe

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
RECIPES = sorted((ROOT / "preprocess").glob("*.yaml"))
COMMENTED = [*RECIPES, *sorted((ROOT / "jobs").rglob("*.yaml")),
             *sorted((ROOT / "hpc_astrossl/templates").rglob("*.yaml"))]  # fmt: skip
STANDS_FOR = {"I/N": "1/2", "W": "2", "N": "2", "tsne|umap": "tsne", "C": "local", "ARCSEC": "0.5", "G": "2",
              "KEY=VALUE": "seed=1", "key=value": "seed=1"}  # fmt: skip
FOLDERS = ("preprocess/", "jobs/", "examples/", "containers/", "benchmarks/")
AMONG_WORDS = re.compile(r"`(astrossl [^`]+)`")
SET = re.compile(r"""--set (?:"([^"]+)"|'([^']+)'|([^\s'"]+))""")
TOP = cli.parser()


def verbs(parser=TOP) -> dict[str, argparse.ArgumentParser]:
    """The parser of each verb, or of the verbs of a verb."""
    return next((part.choices for part in parser._actions if isinstance(part, argparse._SubParsersAction)), {})


def lines_of(page: Path) -> list[str]:
    """The commands that stand in lines of code."""
    code = re.findall(r"^(?: {4}|(?=astrossl ))(astrossl .+)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return [
        re.split(r"\s{3,}|\s+#|\s*&&", line.replace("astrossl  ", "astrossl ").strip())[0] for line in map(_one, code)
    ]


def _one(line: str) -> str:
    """Columns that are aligned: of the verb and what follows it, one space."""
    return re.sub(r"^(astrossl \S+) +", r"\1 ", line)


def in_comments(file: Path) -> list[str]:
    """The commands in lines of their own, or after ``command:``, in the comments of a YAML file."""
    text = file.read_text(encoding="utf-8")
    found = re.findall(r"^# {3,}(?:command: +)?(?:.*&& |in the .*then )?(astrossl .+)$", text, re.MULTILINE)
    found = [part for line in found for part in line.split(" && ")]
    words = {"file": "mine.yaml", "checkout": ".", "source": "pictures", "workdir": ""}
    return [re.sub(r"\{(\w+)\}", lambda word: words[word[1]], re.split(", (?:after|which)", line)[0])
            if "templates" in file.parts else re.split(", (?:after|which)", line)[0] for line in found]  # fmt: skip


def examples() -> list[str]:
    """The commands that help prints."""
    found, waiting = [], list(verbs().values())
    while waiting:
        parser = waiting.pop()
        found += re.findall(r"^ *(astrossl .+)$", parser.epilog or "", re.MULTILINE)
        waiting += verbs(parser).values()
    return found


COMMANDS = [pytest.param(line, id=f"{file.relative_to(ROOT)}: {line}")
            for file in PAGES for line in lines_of(file)]  # fmt: skip
COMMANDS += [
    pytest.param(line, id=f"{file.relative_to(ROOT)}: {line}") for file in COMMENTED for line in in_comments(file)
]
COMMANDS += [pytest.param(line, id=f"help: {line}") for line in examples()]


def words_of(line: str) -> list[str]:
    """The words of a command, with something in the place of what stands for it; optional parts count as given."""
    line = re.sub(r"\[(--[^\]]+)\]", r"\1", line).replace("<run id>", "run_id")
    for name, value in STANDS_FOR.items():
        line = re.sub(rf"(?<=\s){re.escape(name)}(?!\S)", lambda _, value=value: value, line)
    return shlex.split(line)[1:]


@pytest.mark.parametrize("line", COMMANDS)
def test_every_printed_command_is_taken_and_its_files_and_keys_are_there(line, capsys):
    words = words_of(line)
    try:
        given = TOP.parse_args(words)
    except SystemExit:
        pytest.fail(f"{line}: {capsys.readouterr().err}")
    for word in words:
        if word.startswith(FOLDERS) and not re.search(r"mine|[A-Z]{3}", word):
            assert (ROOT / word).exists(), word
    if getattr(given, "cluster", None) not in (None, "mine", "NAME"):
        assert given.cluster == "local" or (ROOT / "jobs/clusters" / f"{given.cluster}.yaml").is_file()
    if given.verb == "preprocess" and (ROOT / given.recipe).is_file():
        load_recipe(ROOT / given.recipe, given.set)
    if given.verb == "help":
        assert cli.main(words) == 0


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_among_words_name_verbs_and_options_that_there_are(page):
    for line in AMONG_WORDS.findall(page.read_text(encoding="utf-8")):
        words = " ".join(line.split()).split(" ")[1:]
        parser, below = TOP, verbs()
        while words and words[0] in below:
            parser = below[words.pop(0)]
            below = verbs(parser)
        assert parser is not TOP or not words or words[0].startswith("-"), f"{line}: no such verb"
        assert not below or not words, f"{line}: {words[:1]} is not among {sorted(below)}"
        known = {option for action in parser._actions for option in action.option_strings}
        for option in re.findall(r"(?<!\S)--[\w-]+", line):
            assert option in known, f"{line}: {option} is not among {sorted(known)}"


def settings_named(file):
    """The settings that the comments of a recipe name, after ``--set`` (those of a line together) or alone."""
    comments = " ".join(re.findall(r"^#(.*)$", file.read_text(encoding="utf-8"), re.MULTILINE))
    comments = re.sub(r"\s+", " ", comments)
    together = [SET.findall(found[0]) for found in re.finditer(rf"(?:{SET.pattern} ?)+", comments)]
    given = [[next(filter(None, one)).rstrip(".,;:)") for one in line] for line in together]
    doors = "catalogue|fields|files|cutouts|filters|split|stores"
    alone = re.findall(rf"(?<![\w.])((?:{doors})\.[\w.-]+=[\w\"']+)", SET.sub("", comments))
    return given + [[one] for one in alone]


def test_settings_that_comments_of_recipes_name_are_taken():
    named = [(file, settings) for file in RECIPES for settings in settings_named(file)]
    assert len(named) > 5
    for file, settings in named:
        assert load_recipe(file, settings).survey, f"{file.name}: {settings}"


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(ROOT)))
def test_benchmarks_and_targets_of_make_that_a_page_names_are_there(page):
    text = page.read_text(encoding="utf-8")
    for name, options in re.findall(r"python (benchmarks/\w+\.py)((?: +[\w=/-]+)*)", text):
        source = (ROOT / name).read_text(encoding="utf-8")
        for option in re.findall(r"--[\w-]+", options):
            assert f'"{option}"' in source, f"{name} {option}"
    targets = re.findall(r"^(\w[\w-]*):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    for name in re.findall(r"(?:^    |`)make ([\w-]+)", text, re.MULTILINE):
        assert name in targets, f"make {name}"


def test_the_collection_finds_what_is_printed():
    assert len(COMMANDS) > 100
    assert "astrossl submit jobs/paper.yaml --cluster slurm_gpu" in in_comments(ROOT / "jobs/paper.yaml")
    assert any("--dry-run" in line for line in lines_of(ROOT / "docs/first-hour.md"))
