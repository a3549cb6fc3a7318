"""The stage from end to end: a verifier that loads by itself, and a table that names every family."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
import torch

from immunize import models
from immunize.data.collect import collect
from immunize.data.loader import Pairs
from immunize.data.scenes import Scenes
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.stages import verify
from immunize.verification import examples, storage

PRESET = """
verify:
  answers: immunize/mine
  clean: pretrain
  fit: 30
  bank: 32
  sample: 6
  block: 30
  head: {kind: perceptron, epochs: 3}
  benign: {noise: [3/255], jpeg: [50]}
  settings: {alpha: 0.1}
  train:
    pgd: {kind: pgd, threat: &within {norm: linf, eps: 8/255}, steps: 2}
    targeted: {kind: pgd, threat: *within, steps: 2, targeted: true}
  unseen:
    typos: {kind: bert_attack, threat: {words: 1}, typos: 2}
  aware:
    knowing: {kind: aware, attack: {kind: pgd, threat: *within, steps: 2, objective: margin}, weights: [1], modes: [sum]}
  aware_sample: 4
"""


@pytest.fixture
def project(tmp_path: Path, trained: Clip, small: Small, pairs: Pairs, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "presets").mkdir()
    (tmp_path / "presets" / "tiny.yaml").write_text(PRESET)
    (tmp_path / "params.yaml").write_text("preset: tiny\n")
    counts = {"train": 40, "validation": 8, "test": 12, "calibration": 70}
    source = Scenes(counts=counts, size=32, captions=1, seed=3)
    collect(source, tmp_path / "data/tiny/collect", size=32, max_characters=300, max_rejected=0.0)
    models.save(trained, tmp_path / "models/tiny/immunize/mine")
    models.save(small.make(pairs.captions, 1), tmp_path / "models/tiny/pretrain")
    return tmp_path


def finite(value: object) -> bool:
    if isinstance(value, dict):
        return all(finite(one) for one in value.values())
    return not isinstance(value, float) or math.isfinite(value)


def test_the_stage(project: Path) -> None:
    verify.main()
    report = json.loads((project / "reports/tiny/verify/detection.json").read_text())
    families = {"pgd": "train", "targeted": "train", "typos": "unseen", "knowing": "aware"}
    benign = {"noise_4", "jpeg_30", "human_typos", "mismatched", "confusable"}
    assert set(report["heads"]) == {"one_class", "logistic", "perceptron"}
    for table in report["heads"].values():
        assert {name: row["group"] for name, row in table.items() if row["group"] in set(families.values())} == families
        assert table["knowing"]["pairs"] == 4 and table["pgd"]["pairs"] == 6
        assert {name for name, row in table.items() if row["group"] == "benign"} == benign
        for row in table.values():
            assert row["flagged"]["0.05"]["low"] <= row["flagged"]["0.05"]["share"] <= row["flagged"]["0.05"]["high"]
    assert set(report["baselines"]) == {"msp", "cosine", "knn", "mahalanobis"} and finite(report)
    assert report["cost"]["passes"] >= report["cost"]["passes_first"] == 2
    verifier = storage.load(project / "models/tiny/verify")
    test = examples.of(Pairs.read(project / "data/tiny/collect", "test"))
    assert torch.isfinite(verifier.score(test.pixels, test.texts).manipulated).all()
    weights = project / "models/tiny/pretrain/model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(ValueError, match="are not those that the verifier was fitted on"):
        storage.load(project / "models/tiny/verify")
