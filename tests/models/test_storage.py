"""On disk and back: equal outputs, equal bytes, clear words where something is off."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import open_clip
import pytest
import torch

from immunize import models
from immunize.config import ConfigurationError
from immunize.data.loader import Pairs
from immunize.models import Architecture, Clip, Normalization, build


def test_outputs_and_bytes_are_equal(trained: Clip, pairs: Pairs, tmp_path: Path) -> None:
    models.save(trained, tmp_path / "one")
    state = torch.get_rng_state()
    loaded = models.load(tmp_path / "one")
    assert torch.equal(state, torch.get_rng_state()) and not loaded.training
    models.save(loaded, tmp_path / "two")
    files = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert files == ["model.json", "model.safetensors", "tokenizer.json"]
    assert all((tmp_path / "one" / f).read_bytes() == (tmp_path / "two" / f).read_bytes() for f in files)
    assert models.digest(tmp_path / "one") == models.digest(tmp_path / "two")
    with torch.no_grad():
        images, tokens = pairs.images[:4] / 255, loaded.tokenize(pairs.captions[:4])
        assert torch.equal(trained.encode_image(images), loaded.encode_image(images))
        assert torch.equal(trained.encode_text(trained.tokenize(pairs.captions[:4])), loaded.encode_text(tokens))


def test_a_model_with_clips_own_tokenizer(tmp_path: Path) -> None:
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
              "text_cfg": {"context_length": 20, "width": 32, "heads": 2, "layers": 1}, "quick_gelu": True}  # fmt: skip
    model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer(context_length=20)).eval()
    models.save(model, tmp_path)
    loaded = models.load(tmp_path)
    assert loaded.architecture == model.architecture
    with torch.no_grad():
        tokens = loaded.tokenize(["a dog " * 30])
        assert tokens.shape == (1, 20) and torch.equal(loaded.encode_text(tokens), model.encode_text(tokens))


def test_what_is_off_is_said(trained: Clip, fresh_model: Clip, tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"holds no model\.json: .*dvc repro"):
        models.load(tmp_path)
    fresh_model.tokenizer = lambda captions: torch.zeros(len(captions), 2, dtype=torch.int64)
    with pytest.raises(TypeError, match="cannot be saved yet"):
        models.save(fresh_model, tmp_path / "odd")
    models.save(trained, tmp_path)
    description = json.loads((tmp_path / "model.json").read_text())
    description["architecture"]["normalisation"] = 1
    (tmp_path / "model.json").write_text(json.dumps(description))
    with pytest.raises(ConfigurationError, match="normalisation: Unexpected"):
        models.load(tmp_path)


def test_the_digest_of_a_model_of_several_files(trained: Clip, tmp_path: Path) -> None:
    """The weights alone where there are some; else every file, whichever was written first, and none below."""
    models.save(trained, tmp_path / "clip")
    weights = hashlib.sha256((tmp_path / "clip/model.safetensors").read_bytes()).hexdigest()
    (tmp_path / "clip/log.json").write_text("other")
    assert models.digest(tmp_path / "clip") == weights
    for name, order in (("one", ("a.json", "b.safetensors")), ("two", ("b.safetensors", "a.json"))):
        (tmp_path / name / "payoffs").mkdir(parents=True)
        (tmp_path / name / "payoffs/of.json").write_text(name)
        for file in order:
            (tmp_path / name / file).write_text(file)
    whole = models.digest(tmp_path / "one")
    assert whole == models.digest(tmp_path / "two")
    (tmp_path / "moved").mkdir()
    for file in ("a.json", "c.safetensors"):  # the same bytes under another name are another model
        (tmp_path / "moved" / file).write_text(file.replace("c.", "b."))
    assert models.digest(tmp_path / "moved") != whole
    for file in ("a.json", "b.safetensors"):
        (tmp_path / "two" / file).write_text("changed")
        assert models.digest(tmp_path / "two") != whole
        (tmp_path / "two" / file).write_text(file)
    (tmp_path / "none").mkdir()
    with pytest.raises(FileNotFoundError, match="none holds no model: is the stage that makes it done"):
        models.digest(tmp_path / "none")
