"""The attacks by the names that are typed, and what of an option each of them takes."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args

import pytest
from typer.testing import CliRunner

from immunize.attacks import Attack, Restarts, Then, Worst
from immunize.cli import app
from immunize.cli.arsenal import Options, named, names
from immunize.config import dump


def test_the_list_has_every_attack_and_asks_for_nothing_else() -> None:
    outcome = CliRunner().invoke(app, ["attack", "--list"])
    assert outcome.exit_code == 0, outcome.output
    listed = [line.split()[0] for line in outcome.stdout.splitlines() if line.startswith("  ")]
    members = {kind for kind in get_args(get_args(Attack)[0])} - {Worst, Restarts, Then}
    assert sorted(listed) == sorted(names()) and {field_default(kind, "kind") for kind in members} <= set(listed)
    assert "on the text:" in outcome.stdout and "arXiv:1706.06083" in outcome.stdout


def field_default(kind: type[Any], name: str) -> object:
    return next(field.default for field in fields(kind) if field.name == name)


@pytest.mark.parametrize("name", names())
def test_every_name_is_an_attack_with_what_was_typed(name: str) -> None:
    """Whatever the attack has a field for is set, in its parts too; what is not typed is the attack's own."""
    needed = {"text_fooler": {"synonyms": "words.yaml"}, "universal": {"path": "delta.safetensors"}}.get(name, {})
    plain = dump(named(name, Options(**needed)))
    assert plain["kind"] == {"nes": "estimated_gradient", "spsa": "estimated_gradient"}.get(name, plain["kind"])
    for option, value in {"steps": 3, "queries": 77, "words": 2, "language": "a/folder"}.items():
        try:
            found = dump(named(name, Options(**needed | {option: value})))
        except ValueError as error:
            assert str(error) == f"--{option} {value}: {name} has no use for it"
            assert f"'{option}'" not in str(plain)
        else:
            assert f"'{option}': {value!r}" in str(found)


def test_each_attack_gets_a_norm_that_it_takes() -> None:
    def threat(name: str, **typed: str) -> tuple[str, float]:
        found = dump(named(name, Options(**typed)))["threat"]
        return found["norm"], found["eps"]

    assert threat("pgd") == ("linf", 2 / 255) and threat("one_pixel") == ("l0", 10.0)
    assert threat("carlini_wagner") == ("l2", "inf") and threat("carlini_wagner", eps="0.7") == ("l2", 0.7)
    assert threat("pgd", norm="l2") == ("l2", 0.5) and threat("square", norm="l2", eps="3/4") == ("l2", 0.75)
