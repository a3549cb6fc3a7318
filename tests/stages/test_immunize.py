"""Which pairs a defense is trained on, and how many captions of them pretraining sees; the training itself is not run."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from immunize import models
from immunize.config import ConfigurationError
from immunize.data.augmentation import Caption, Material, sparse, write_pairs
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.stages import immunize, pretrain

SMOKE = Path(__file__).parents[2] / "presets" / "smoke.yaml"


@pytest.fixture
def sections(
    world: Path, pairs: Pairs, trained: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """The preset `smoke` on a small world, with two captions made of each image, each image having two already."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("preset: smoke\n")
    for folder in ("presets", "data/smoke", "models/smoke/language"):
        Path(folder).mkdir(parents=True)
    Path("data/smoke/collect").symlink_to(world)
    given, rest = sparse(pairs, 1)
    new = Caption(n=2)(Material(pairs=given, rest=rest))
    write_pairs(Path("data/smoke/augment/caption"), world, given, new, {})
    models.save(trained, Path("models/smoke/pretrain"))
    return yaml.safe_load(SMOKE.read_text())


@pytest.fixture
def trained_on(monkeypatch: pytest.MonkeyPatch) -> list[Pairs]:
    """The pairs that the training loop is given."""
    seen: list[Pairs] = []
    for stage in (immunize, pretrain):
        monkeypatch.setattr(stage, "run", lambda name, model, pairs, *rest: seen.append(pairs))
    return seen


def test_a_defense_trains_on_the_pairs_it_names(
    sections: dict[str, Any], trained_on: list[Pairs], pairs: Pairs
) -> None:
    Path("presets/smoke.yaml").write_text(yaml.safe_dump(sections))
    immunize.main("mat")
    immunize.main("mat_plus_caption")
    collected, augmented = trained_on
    assert collected.hash() == pairs.hash() and len(collected.captions) == 2 * len(pairs)
    assert augmented.image_ids == pairs.image_ids and len(augmented.captions) == 3 * len(pairs)


def test_pixels_may_stay_on_disk(sections: dict[str, Any], trained_on: list[Pairs], pairs: Pairs) -> None:
    sections["immunize"]["mat"]["mapped"] = True
    Path("presets/smoke.yaml").write_text(yaml.safe_dump(sections))
    immunize.main("mat")
    assert trained_on[0].hash() == pairs.hash()
    (file,) = Path(".cache/pixels").iterdir()
    assert file.stat().st_size == pairs.images.numel()


def test_pairs_that_no_stage_makes_are_refused(sections: dict[str, Any]) -> None:
    sections["immunize"]["mat"]["pairs"] = "../elsewhere"
    Path("presets/smoke.yaml").write_text(yaml.safe_dump(sections))
    with pytest.raises(ConfigurationError, match=r"mat\.pairs: String should match pattern"):
        immunize.main("mat")


def test_pretraining_may_see_sparse_pairs(sections: dict[str, Any], trained_on: list[Pairs], pairs: Pairs) -> None:
    for captions in (None, 1):
        sections["pretrain"]["captions"] = captions
        Path("presets/smoke.yaml").write_text(yaml.safe_dump(sections))
        pretrain.main()
    assert [len(seen.captions) for seen in trained_on] == [2 * len(pairs), len(pairs)]
