"""open_clip's own models by name: a tiny architecture with weights from a local file, loaded as a user would."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import open_clip
import pytest
import torch
from open_clip import factory
from safetensors.torch import save_file
from torch.nn.functional import normalize

from immunize import models

CONFIG = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 1},
}


@pytest.fixture
def weights(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A file of weights of the architecture `tiny-test`, which open_clip knows for as long as the test runs."""
    monkeypatch.setattr(factory, "_MODEL_CONFIGS", dict(factory._MODEL_CONFIGS))
    monkeypatch.setattr(factory, "_MODEL_CONFIG_PATHS", list(factory._MODEL_CONFIG_PATHS))
    (tmp_path / "tiny-test.json").write_text(json.dumps(CONFIG))
    open_clip.add_model_config(tmp_path / "tiny-test.json")
    with torch.random.fork_rng():
        torch.manual_seed(5)
        net = open_clip.create_model("tiny-test")
    save_file({name: value.contiguous() for name, value in net.state_dict().items()}, tmp_path / "tiny.safetensors")
    yield tmp_path / "tiny.safetensors"


def test_it_encodes_as_open_clip_does(weights: Path, tmp_path: Path) -> None:
    model = models.load(f"open_clip:tiny-test/{weights}")
    net = open_clip.create_model("tiny-test", pretrained=str(weights)).eval()
    images, captions = torch.rand(2, 3, 32, 32), ["a dog", "two dogs on the grass"]
    mean, std = (torch.tensor(net.visual.preprocess_cfg[k]).view(3, 1, 1) for k in ("mean", "std"))
    assert not model.training and model.architecture.normalization.mean == open_clip.OPENAI_DATASET_MEAN
    with torch.no_grad():
        image = normalize(net.encode_image((images - mean) / std), dim=-1)
        text = normalize(net.encode_text(open_clip.get_tokenizer("tiny-test")(captions)), dim=-1)
        assert torch.allclose(model.encode_image(images), image, atol=1e-5)
        assert torch.allclose(model.encode_text(model.tokenize(captions)), text, atol=1e-5)
        models.save(model, tmp_path / "saved")
        again = models.load(tmp_path / "saved")
        assert torch.equal(again.encode_image(images), model.encode_image(images))
        assert torch.equal(again.encode_text(again.tokenize(captions)), model.encode_text(model.tokenize(captions)))


def test_an_unknown_name_is_answered_with_the_nearest() -> None:
    with pytest.raises(ValueError, match=r"no architecture 'ViT-B-23'; the nearest are .*'ViT-B-32'"):
        models.load("open_clip:ViT-B-23/openai")
    with pytest.raises(ValueError, match=r"'opanai' is no file and no weights of ViT-B-32 .*'openai'"):
        models.load("open_clip:ViT-B-32/opanai")
