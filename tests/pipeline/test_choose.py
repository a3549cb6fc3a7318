"""The lists that DVC reads come from the preset, whichever it is."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from immunize.config import ConfigurationError
from immunize.pipeline.choose import params

RECIPES = """
immunize:
  mat: &mat {training: {steps: 1}}
  mat_plus_eda: {<<: *mat, pairs: augment/eda}
verify: {answers: immunize/mat, clean: pretrain}
adapt: {models: {robust: immunize/mat}}
"""


def test_the_lists_are_the_presets_recipes(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "toy.yaml").write_text(RECIPES)
    assert yaml.safe_load(params("toy", tmp_path)) == {
        "preset": "toy",
        "defenses": {"mat": "collect", "mat_plus_eda": "augment/eda"},
        "models": {"pretrain": "pretrain", "mat": "immunize/mat", "mat_plus_eda": "immunize/mat_plus_eda"},
        "watched": "immunize/mat",
    }
    assert params("toy", tmp_path).count("\npreset: toy\n") == 1  # what switches by hand or by `dvc exp run -S`


def test_a_preset_that_is_not_there_is_named(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "toy.yaml").write_text("collect: {}")
    with pytest.raises(ConfigurationError, match=r"nope.yaml does not exist; here are \['toy'\]"):
        params("nope", tmp_path)
    with pytest.raises(ConfigurationError, match="immunize: must name the defenses"):
        params("toy", tmp_path)


def test_a_preset_without_verifier_watches_what_it_began_with(tmp_path: Path) -> None:
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "toy.yaml").write_text("immunize: {mat: {training: {steps: 1}}}")
    assert yaml.safe_load(params("toy", tmp_path))["watched"] == "pretrain"


@pytest.mark.parametrize("other", ["{static: {robust: immunize/mat_plus_eda}}", "{static: {robust: immunize/gone}}"])
def test_one_defense_is_watched(tmp_path: Path, other: str) -> None:
    """What stages would read without waiting for it is refused."""
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "toy.yaml").write_text(f"{RECIPES}adaptive: {other}\n")
    with pytest.raises(ConfigurationError, match=r"verify, adapt, adaptive: must be about one defense .*immunize/mat"):
        params("toy", tmp_path)
