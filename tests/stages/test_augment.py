"""The stage on a tiny model: tables beside measures, for every augmentation of the section or for those that are named."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from immunize import models
from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.stages.augment import main

SECTION = {
    "augmentations": {
        "words": {"kind": "masked", "n": 2},
        "drawn": {"kind": "render", "n": 1},
        "people": {"kind": "human"},
    },
    "sample": 50,
}


@pytest.fixture
def project(world: Path, trained: Clip, language_folder: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("preset: tiny\n")
    for folder in ("presets", "data/tiny", "models/tiny"):
        Path(folder).mkdir(parents=True)
    Path("presets/tiny.yaml").write_text(yaml.safe_dump({"augment": SECTION}))
    Path("data/tiny/collect").symlink_to(world)
    Path("models/tiny/language").symlink_to(language_folder)
    models.save(trained, Path("models/tiny/pretrain"))
    return tmp_path


def test_every_augmentation_is_made_and_measured(project: Path) -> None:
    main()
    made = {path.name: path for path in Path("data/tiny/augment").iterdir()}
    assert set(made) == {"words", "drawn", "people"}
    given = len(Pairs.read(Path("data/tiny/collect"), "train"))
    sizes = {name: (len(pairs := Pairs.read(path, "train")), len(pairs.captions)) for name, path in made.items()}
    assert sizes == {"words": (given, 3 * given), "drawn": (2 * given, 2 * given), "people": (given, 2 * given)}
    measures = {name: json.loads((path / "measures.json").read_text()) for name, path in made.items()}
    assert measures["people"]["exact_alignment"] == measures["drawn"]["exact_alignment"] == 100
    assert measures["words"]["exact_alignment"] < 100 and measures["words"]["captions"] == 2 * given
    before = (made["words"] / "measures.json").read_bytes()
    main("words")
    assert (made["words"] / "measures.json").read_bytes() == before


def test_pairs_may_be_sparse_in_images_too(project: Path) -> None:
    Path("presets/tiny.yaml").write_text(yaml.safe_dump({"augment": SECTION | {"images": 20}}))
    main("people")
    pairs, whole = (Pairs.read(Path("data/tiny") / folder, "train") for folder in ("augment/people", "collect"))
    assert pairs.image_ids == whole.image_ids[:20] and len(pairs.captions) == 40


def test_a_name_that_is_not_there_is_refused(project: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"augmentations: no nope; there are \['drawn', 'people', 'words'\]"):
        main("nope")
