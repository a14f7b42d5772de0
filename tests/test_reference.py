"""The reference of keys: every key has words, and docs/reference is what the program says."""

import hashlib
from pathlib import Path

import pytest

from hpc_astrossl.cli import main
from hpc_astrossl.specs import ages, reference

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("kind", reference.KINDS)
def test_every_key_has_words(kind):
    mute = [one.path for one in reference.keys(kind) if len(one.words) < 8]
    mute += [one.path for one in reference.keys(kind) if not one.words.endswith(".")]  # a scrap is read twice
    assert mute == [], f"say in specs/words.py, or in a comment beside the field, what these mean: {', '.join(mute)}"


@pytest.mark.parametrize("kind", reference.KINDS)
def test_the_pages_are_what_the_program_says(kind):
    """To write them anew: python -m hpc_astrossl.specs.reference docs/reference"""
    assert (ROOT / f"docs/reference/{kind}.md").read_text() == reference.page(kind)


def test_the_age_of_a_key_is_the_version_that_brought_it():
    """The list of 0.1.0 is held against that version's own specs by its digest: nobody adds a new key to it."""
    listed = "\n".join(f"{kind} {path}" for kind in sorted(ages.OF_FIRST) for path in sorted(ages.OF_FIRST[kind]))
    assert hashlib.sha256(listed.encode()).hexdigest()[:16] == "ca62a764d0fbf3a0"
    for kind in reference.KINDS:
        for one in reference.keys(kind):
            assert one.since == ("0.1.0" if one.path in ages.OF_FIRST[kind] else "0.2.0"), one.path
    new = {"recipe": "cutouts.array", "jobs": "pretexts", "cluster": "gpus", "run": "model.backbone"}
    assert all(reference.find(kind, path)[0].since == "0.2.0" for kind, path in new.items())
    gone = {kind: ages.OF_FIRST[kind] - {one.path for one in reference.keys(kind)} for kind in reference.KINDS}
    assert gone == dict.fromkeys(
        reference.KINDS, frozenset()
    )  # a key of 0.1.0 that goes is a break: say it in CHANGES.md


def test_no_words_are_left_of_keys_that_are_gone():
    known = {name: set(cls.__dataclass_fields__) for name, cls in _records().items()}
    for name, said in reference.WORDS.items():
        assert set(said) <= known[name], name


def _records():
    found = {"BandImages": None}
    waiting = [*reference.KINDS.values(), reference.Resources]
    while waiting:
        cls = waiting.pop()
        for one in cls.__mro__[:-1]:
            found[one.__name__] = one
        for hint in reference.typing.get_type_hints(cls).values():
            below, _ = reference._record(hint)
            if below is not None and below.__name__ not in found:
                waiting.append(below)
    return found


def test_a_key_is_explained_with_default_values_and_what_it_excludes(capsys):
    assert main(["help", "recipe", "stores.SG.images"]) == 0
    said = capsys.readouterr().out
    assert said.startswith("stores.NAME.images\n")
    assert "rgb | bands; default: rgb; since 0.1.0" in said
    assert main(["help", "run", "class_weights"]) == 0  # by its last name alone
    assert "data.class_weights" in capsys.readouterr().out
    assert main(["help", "jobs", "resources.all.minutes"]) == 0
    assert "default: 60" in capsys.readouterr().out
    assert main(["help", "recipe", "cutouts"]) == 0
    assert "Excludes fields and files." in capsys.readouterr().out
    assert main(["help", "recipe", "split.trian"]) == 2
    said = capsys.readouterr().err
    assert "did you mean 'split.train'?" in said
    assert "catalogue.bands" not in said  # one line, not a page of 150 keys
    assert main(["help", "cluster"]) == 0
    assert "signal_delay" in capsys.readouterr().out
