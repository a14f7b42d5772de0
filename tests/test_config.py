"""Strict YAML: right files become specs, wrong ones a message that tests read."""

import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from hpc_astrossl import config
from hpc_astrossl.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Inner:
    rate: float = 0.5
    kind: Literal["a", "b"] = "a"


@dataclass(frozen=True, kw_only=True)
class Outer:
    name: str
    count: int | None = None
    inner: Inner = Inner()
    many: tuple[Inner, ...] = ()
    sizes: tuple[int | str, ...] = ()
    table: dict[str, Inner] = field(default_factory=dict)
    place: str = field(default="here", metadata={"identity": False})


def load(tmp_path, text):
    path = tmp_path / "file.yaml"
    path.write_text(text)
    return config.load(path, Outer)


def test_a_file_becomes_a_spec_and_back(tmp_path):
    spec = load(
        tmp_path, "name: x\ncount: 3\nmany: [{rate: 1e-3}, {kind: b}]\nsizes: [1, all]\ntable: {k: {rate: 2}}\n"
    )
    assert spec.many == (Inner(rate=0.001), Inner(kind="b"))
    assert spec.sizes == (1, "all")
    assert spec.table == {"k": Inner(rate=2.0)}
    assert load(tmp_path, config.dump(spec)) == spec


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("name: x\ncout: 3\n", "'cout'; allowed: count, inner, many, name, place, sizes, table; did you mean 'count'"),
        ("count: 3\n", "file.yaml: missing key name"),
        ("name: 3\n", "name: expected text, found 3"),
        ("name: x\ncount: true\n", "count: expected a whole number, found true"),
        ("name: x\ncount: '3'\n", "count: expected a whole number, found '3'"),
        ("name: x\ninner: {rate: fast}\n", "inner: rate: expected a number, found 'fast'"),
        ("name: x\ninner: {kind: c}\n", "kind: found 'c'; allowed: a, b"),
        ("name: x\nmany: [{}, {rat: 1}]\n", "many[1]: unknown key 'rat'"),
        ("name: x\nmany: 3\n", "many: expected a list, found 3"),
        ("name: x\ntable: {k: 3}\n", "table.k: expected a mapping, found 3"),
        ("name: x\nsizes: [1.5]\n", "sizes[0]: expected a whole number or text, found 1.5"),
        ("name: x\nname: y\n", "key 'name' is repeated"),
        ("a: &a {}\nb: *a\n", "aliases (*name) are not allowed"),
        ("name: !!python/object/apply:os.system [true]\n", "not valid YAML"),
        ("- x\n", "expected a mapping of keys to values, found list"),
        ("name: [\n", "not valid YAML"),
    ],
)  # fmt: skip
def test_a_wrong_file_is_answered_with_what_is_allowed(tmp_path, text, words):
    with pytest.raises(InputError) as error:
        load(tmp_path, text)
    assert words in str(error.value)
    assert "file.yaml" in str(error.value)


def test_a_missing_file_and_one_that_is_not_text_are_named(tmp_path):
    with pytest.raises(InputError, match=r"nothing\.yaml: no such file"):
        config.read_yaml(tmp_path / "nothing.yaml")
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(InputError, match="cannot be read as UTF-8"):
        config.read_yaml(tmp_path / "bytes.yaml")


def test_only_true_and_false_are_booleans_and_dates_stay_text(tmp_path):
    path = tmp_path / "f.yaml"
    path.write_text("a: yes\nb: off\nc: true\nd: 2020-01-01\ne: 1e5\nf: 1.5E+3\ng: .5\n")
    assert config.read_yaml(path) == {
        "a": "yes",
        "b": "off",
        "c": True,
        "d": "2020-01-01",
        "e": 1e5,
        "f": 1500,
        "g": 0.5,
    }


def test_the_digest_is_of_what_decides_the_result():
    assert config.digest(Outer(name="x")) == config.digest(Outer(name="x", place="there"))
    assert config.digest(Outer(name="x")) != config.digest(Outer(name="x", inner=Inner(rate=0.25)))


BASE = {"classes": {"star": ["s"], 0: ["g"]}, "phases": [{"epochs": 1, "trains": "head"}, {"epochs": 5}], "none": None}


@pytest.mark.parametrize(
    ("pairs", "key", "value"),
    [
        (["classes={a: [x]}"], "classes", {"a": ["x"]}),  # replaced whole: no class of the recipe stays
        (["classes.star=[t]"], "classes", {"star": ["t"], 0: ["g"]}),
        (["classes.new=[n]"], "classes", {"star": ["s"], 0: ["g"], "new": ["n"]}),
        (["classes.0=[h]"], "classes", {"star": ["s"], 0: ["h"]}),
        (["phases.1.epochs=9"], "phases", [{"epochs": 1, "trains": "head"}, {"epochs": 9}]),
        (["phases=[{epochs: 2}]"], "phases", [{"epochs": 2}]),
        (["classes={}", "classes.a=[x]"], "classes", {"a": ["x"]}),  # in their order
        (["none.a.b=1"], "none", {"a": {"b": 1}}),
        (["classes=null"], "classes", None),
    ],
)
def test_set_replaces_what_it_names_and_nothing_else(pairs, key, value):
    made = config.apply_settings(BASE, pairs)
    assert made == {**BASE, key: value}
    assert BASE["phases"][1] == {"epochs": 5}  # what was read stays as it was


@pytest.mark.parametrize(
    ("pair", "words"),
    [
        ("phases.2.epochs=1", "'2' is no item of a list of 2; items are numbered from 0"),
        ("phases.last=1", "'last' is no item of a list of 2"),
        ("classes.star.0.x=1", "'x' leads into 's', which has no keys"),
        ("a..b=1", "expected KEY=VALUE"),
        ("a={x", r"--set a: not valid YAML: while parsing a flow mapping at line 1, column 1"),
    ],
)
def test_a_setting_that_leads_nowhere_is_told(pair, words):
    with pytest.raises(InputError, match=re.escape(words)):
        config.apply_settings(BASE, [pair])


def test_settings_and_merge_lay_values_over_a_mapping():
    change = config.settings(["data.batch_size=64", "data.flips=false", "seed=3"])
    base = {"data": {"store": "s", "batch_size": 32}, "phases": [1, 2]}
    assert config.merge(base, change) == {
        "data": {"store": "s", "batch_size": 64, "flips": False}, "phases": [1, 2], "seed": 3
    }  # fmt: skip
    with pytest.raises(InputError, match="expected KEY=VALUE, with a key of this file"):
        config.settings(["data.batch_size"])


def test_names_of_files_that_begin_with_a_brace_need_no_quotes_in_set_and_are_named_in_files():
    assert config.settings(["cube={id}.fits", "image={id}"]) == {"cube": "{id}.fits", "image": "{id}"}
    assert config.settings(["classes={a: [1]}"]) == {"classes": {"a": [1]}}
    with pytest.raises(InputError, match=r'text that begins with a brace stands in quotes: "\{id\}_\{band\}.fits"'):
        config.safe_yaml("cutouts:\n  bands: {id}_{band}.fits  # one each\n", "recipe.yaml")
    with pytest.raises(InputError, match=r'name: expected text, found .*stands in quotes: "\{id\}"'):
        config.parse({"name": {"id": None}}, Named, "x")


@dataclass(frozen=True)
class Named:
    """A record with a text."""

    name: str
