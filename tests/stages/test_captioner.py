"""The stage on a tiny model: what it writes is loaded by the augmentation; 0 steps write a log without records."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from immunize import models
from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.stages import augment, captioner

FOLDER = Path("models/tiny/captioner")
SECTION = {"steps": 30, "size": {"width": 32, "layers": 1}, "batch": 16, "images": 48, "lr": 1e-2}
AUGMENT = {"augmentations": {"told": {"kind": "caption", "n": 2, "weights": str(FOLDER)}}, "images": 20, "sample": 20}


@pytest.fixture
def project(world: Path, trained: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("preset: tiny\n")
    for folder in ("presets", "data/tiny", "models/tiny"):
        Path(folder).mkdir(parents=True)
    Path("data/tiny/collect").symlink_to(world)
    models.save(trained, Path("models/tiny/pretrain"))
    return tmp_path


def preset(section: dict[str, object]) -> None:
    Path("presets/tiny.yaml").write_text(yaml.safe_dump({"captioner": section, "augment": AUGMENT}))


def test_what_it_learnt_is_what_the_augmentation_says(project: Path) -> None:
    preset(SECTION)
    captioner.main()
    assert [record["step"] for record in json.loads((FOLDER / "log.json").read_text())] == [20, 30]
    first = {path: path.read_bytes() for path in FOLDER.rglob("*") if path.is_file()}
    captioner.main()
    assert {path: path.read_bytes() for path in first} == first
    augment.main()
    pairs = Pairs.read(Path("data/tiny/augment/told"), "train")
    measures = json.loads(Path("data/tiny/augment/told/measures.json").read_text())
    assert len(pairs) == 20 and 20 < len(pairs.captions) <= 60 and measures["exact_alignment"] is not None
    told = models.captioner.load(str(FOLDER)).describe(pairs.images, 2, seed=0)  # the seed of the section `augment`
    new = {c for c, caption_id in zip(pairs.captions, pairs.caption_ids) if "~caption" in caption_id}
    assert new == {caption for captions in told for caption in captions} - (set(pairs.captions) - new)


def test_it_learns_from_the_pairs_that_it_is_given_alone(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[list[tuple[int, str]]] = []

    def seen(made: object, images: object, told: list[tuple[int, str]], **_: object) -> list[dict[str, int]]:
        given.append(told)
        return []

    monkeypatch.setattr(captioner, "fit", seen)
    preset(SECTION)
    captioner.main()
    preset(SECTION | {"captions": None, "images": None})
    captioner.main()
    whole = Pairs.read(Path("data/tiny/collect"), "train")
    assert given[1] == list(zip(whole.owner.tolist(), whole.captions)) and len(given[0]) == 48
    assert given[0] == [told for told in given[1] if told[0] < 48][::2]


def test_no_steps_write_no_captioner(project: Path) -> None:
    preset({"steps": 0})
    captioner.main()
    assert [path.name for path in FOLDER.iterdir()] == ["log.json"] and json.loads(
        (FOLDER / "log.json").read_text()
    ) == []
    with pytest.raises(ConfigurationError, match="holds no captioner"):
        augment.main()
