"""The stage on a tiny model: what it writes for the main attacks and for the named ones, and names that are taken."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from immunize import models
from immunize.config import ConfigurationError, parse
from immunize.evaluation.results import read_all, read_sweep
from immunize.models import Clip
from immunize.stages.evaluate import Params, main

BALL = {"norm": "linf", "eps": "8/255"}
PGD = {"kind": "pgd", "threat": BALL, "steps": 2}
SECTION = {
    "attacks": {"clean": None, "image": PGD},
    "sample": 12,
    "named": {"sample": 5, "attacks": {"square": {"kind": "square", "threat": BALL, "queries": 4}}},
    "sweep": {"attack": PGD, "eps": [0, "8/255"], "images": 6},
    "probe": 3,
    "kept": 4,
}


def test_named_attacks_have_a_sample_of_their_own(
    world: Path, trained: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("preset: tiny\n")
    for folder in ("presets", "data/tiny", "models/tiny"):
        Path(folder).mkdir(parents=True)
    Path("presets/tiny.yaml").write_text(yaml.safe_dump({"evaluate": SECTION}))
    Path("data/tiny/collect").symlink_to(world)
    models.save(trained, Path("models/tiny/pretrain"))
    main("pretrain")
    by_attack = read_all(Path("reports/tiny/results"))["pretrain"]
    assert {name: len(found.image_ids) for name, found in by_attack.items()} == {"clean": 24, "image": 12, "square": 5}
    names = {name: {flag.name for flag in found.flags} for name, found in by_attack.items()}
    assert "beats_noise" in names["image"] and "outputs_fixed" in names["clean"]
    assert names["square"] == {
        "not_above_clean", "inside_ball", "inside_edits", "captions_still_true", "claims_hold",
        "no_stronger_than_gradients",
    }  # fmt: skip
    for name, kept in (("image", 4), ("square", 4)):
        path = Path("reports/tiny/adversarial/pretrain", name, "images.parquet")
        assert len(pq.read_table(path)) == kept
    assert read_sweep(Path("reports/tiny/results/pretrain/sweep.json")).eps == [0.0, 8 / 255]


@pytest.mark.parametrize(("attacks", "named"), [("image", "image"), ("worst", "square"), ("image", "worst")])
def test_a_name_that_is_taken_is_refused(attacks: str, named: str) -> None:
    section = SECTION | {"attacks": {attacks: PGD}, "named": {"sample": 1, "attacks": {named: PGD}}}
    with pytest.raises(ConfigurationError, match="is a name that is taken"):
        parse(section, Params, "here")
