"""YAML to typed objects: what is wrong is named by file and key, and what is dumped can be parsed again."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import pytest
from pydantic import Field

from immunize.config import ConfigurationError, dump, frozen, load, parse, preset


@frozen
class Inner:
    steps: Annotated[int, Field(ge=0)] = 3


@frozen
class Outer:
    inner: Inner
    rates: tuple[float, ...] = ()
    name: str | None = None


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "params.yaml").write_text("preset: one\n")
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "one.yaml").write_text("pgd: {inner: {steps: 5}, rates: [1, 0.5]}\nbare: {inner: {}}\n")
    return tmp_path


def test_a_section_becomes_an_object(root: Path) -> None:
    assert preset(root) == "one"
    assert load("pgd", Outer, root) == Outer(Inner(5), (1.0, 0.5))
    assert load("bare", Outer, root) == Outer(Inner(3))


def test_what_is_missing_is_named_with_what_is_there(root: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"one\.yaml has no 'sga'; it has \['bare', 'pgd'\]"):
        load("sga", Outer, root)
    (root / "params.yaml").write_text("preset: two\n")
    with pytest.raises(ConfigurationError, match=r"two\.yaml does not exist; here are \['one'\]"):
        load("pgd", Outer, root)
    (root / "params.yaml").write_text("")
    with pytest.raises(ConfigurationError, match="has no 'preset'"):
        preset(root)


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"inner": {"stepz": 3}}, r"here: inner\.stepz: Unexpected keyword argument"),
        ({"inner": {"steps": -1}}, r"here: inner\.steps: Input should be greater than or equal to 0"),
        ({"inner": {}, "rates": ["x"]}, r"here: rates\.0: Input should be a valid number"),
        ({}, r"here: inner: Field required"),
        ({"inner": {"steps": 1.5}, "nome": 1}, r"inner\.steps: .*; nome: Unexpected"),
    ],
)
def test_each_wrong_key_is_named(value: dict, message: str) -> None:
    with pytest.raises(ConfigurationError, match=message):
        parse(value, Outer, "here")


def test_dump_is_the_inverse_of_parse() -> None:
    value = Outer(Inner(7), (0.25,), "x")
    assert dump(value) == {"inner": {"steps": 7}, "rates": [0.25], "name": "x"}
    assert parse(dump(value), Outer, "here") == value
