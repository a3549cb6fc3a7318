"""Values set in a parameters file: there alone, and the file otherwise as it was."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from immunize.config import ConfigurationError
from immunize.pipeline.overrides import overridden

PRESETS = Path(__file__).parents[2] / "presets"
TEXT = """\
# what it is for
immunize:
  finetune:
    training: &training {steps: 100, lr: 7.0e-4}  # shared
  mat:
    training: *training
    method:
      outer:
        - {kind: consistency, weight: 0.1}
        - {kind: contrast}
"""


def test_what_is_reached_through_an_alias_is_set_there_alone() -> None:
    new = overridden(TEXT, {"immunize.mat.training.lr": 0.001})
    assert yaml.safe_load(new)["immunize"]["mat"]["training"] == {"steps": 100, "lr": 0.001}
    assert yaml.safe_load(new)["immunize"]["finetune"] == yaml.safe_load(TEXT)["immunize"]["finetune"]
    assert "# what it is for" in new and "# shared" in new


def test_where_the_anchor_is_set_the_aliases_stay_as_they_were() -> None:
    new = yaml.safe_load(overridden(TEXT, {"immunize.finetune.training.lr": 0.001}))["immunize"]
    assert new["finetune"]["training"]["lr"] == 0.001 and new["mat"]["training"]["lr"] == 0.0007


def test_an_entry_of_a_list_is_named_by_its_number() -> None:
    new = yaml.safe_load(overridden(TEXT, {"immunize.mat.method.outer.0.weight": 0.5}))
    assert new["immunize"]["mat"]["method"]["outer"] == [{"kind": "consistency", "weight": 0.5}, {"kind": "contrast"}]


def test_a_star_is_every_entry() -> None:
    new = yaml.safe_load(overridden(TEXT, {"immunize.*.training.lr": 0.001}))["immunize"]
    assert [new[name]["training"] for name in ("finetune", "mat")] == [{"steps": 100, "lr": 0.001}] * 2
    new = yaml.safe_load(overridden(TEXT, {"immunize.mat.method.outer.*.kind": "anchor"}))["immunize"]
    assert [term["kind"] for term in new["mat"]["method"]["outer"]] == ["anchor"] * 2
    with pytest.raises(ConfigurationError, match="no 'weight' here"):
        overridden(TEXT, {"immunize.mat.method.outer.*.weight": 1})


@pytest.mark.parametrize(
    ("key", "part"), [("immunize.matt.training.lr", "matt"), ("immunize.mat.method.outer.2.weight", "2"), ("x", "x")]
)
def test_a_key_that_is_not_there_is_named(key: str, part: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"{key}: no '{part}' here"):
        overridden(TEXT, {key: 1})


@pytest.mark.parametrize("path", sorted(PRESETS.glob("*.yaml")), ids=lambda path: path.stem)
def test_setting_nothing_changes_no_meaning(path: Path) -> None:
    text = path.read_text()
    new = overridden(text, {})
    assert yaml.safe_load(new) == yaml.safe_load(text)
    assert [line for line in new.splitlines() if line.startswith("#")] == [
        line for line in text.splitlines() if line.startswith("#")
    ]


def leaves(node: object, path: str = "") -> list[str]:
    """The key of every scalar."""
    children = node.items() if isinstance(node, dict) else enumerate(node) if isinstance(node, list) else None
    if children is None:
        return [path]
    return [leaf for key, child in children for leaf in leaves(child, f"{path}.{key}" if path else str(key))]


@given(st.data())
def test_one_value_and_no_other_is_set(data: st.DataObject) -> None:
    before = yaml.safe_load(TEXT)
    key = data.draw(st.sampled_from(leaves(before)))
    after = yaml.safe_load(overridden(TEXT, {key: 12345}))
    for leaf in leaves(before):
        mine, old = after, before
        for part in leaf.split("."):
            place = int(part) if isinstance(old, list) else part
            mine, old = mine[place], old[place]
        assert mine == (12345 if leaf == key else old)
