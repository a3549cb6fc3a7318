"""A BLIP of a few thousand weights, made here and saved: what is loaded from a folder describes images."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from transformers import BlipConfig, BlipForConditionalGeneration, BlipImageProcessor, BlipProcessor

from immunize.config import ConfigurationError
from immunize.models import captioner, language
from immunize.models.captioner import Captioner

SIZE = {"intermediate_size": 64, "projection_dim": 16, "num_hidden_layers": 1, "num_attention_heads": 2}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        words = language.fresh(["a red ball", "a blue box"], vocabulary=80, width=32, layers=1, length=32).tokenizer
        start, end = words.cls_token_id, words.sep_token_id
        text = {
            "vocab_size": len(words), "hidden_size": 32, "encoder_hidden_size": 32, "max_position_embeddings": 32,
            "bos_token_id": start, "eos_token_id": end, "sep_token_id": end, "pad_token_id": words.pad_token_id,
        }  # fmt: skip
        vision = {"hidden_size": 32, "image_size": 32, "patch_size": 16}
        model = BlipForConditionalGeneration(BlipConfig(text_config=text | SIZE, vision_config=vision | SIZE))
    path = tmp_path_factory.mktemp("blip")
    model.save_pretrained(path)
    BlipProcessor(BlipImageProcessor(size={"height": 32, "width": 32}), words).save_pretrained(path)
    return path


@pytest.fixture
def images() -> torch.Tensor:
    return torch.randint(0, 256, (5, 3, 40, 40), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def test_it_says_something_else_each_time_and_the_same_for_a_seed(folder: Path, images: torch.Tensor) -> None:
    model, state = captioner.load(str(folder)), torch.get_rng_state()
    assert isinstance(model, Captioner)
    told = model.describe(images, 3, seed=1)
    assert len(told) == 5 and all(1 <= len(set(captions)) == len(captions) <= 3 for captions in told)
    assert all(caption == " ".join(caption.split()) and caption for captions in told for caption in captions)
    assert model.describe(images, 3, seed=1) == told != model.describe(images, 3, seed=2)
    assert torch.equal(torch.get_rng_state(), state)


def test_blocks_keep_the_order(folder: Path, images: torch.Tensor) -> None:
    """With one word to choose from nothing is drawn, and each image's caption follows from it alone."""
    model = captioner.load(str(folder))
    model.p, model.longest = 1e-6, 4
    whole = model.describe(images, 1, seed=0)
    model.block = 2
    assert model.describe(images, 1, seed=5) == whole
    assert model.describe(images.flip(0), 1, seed=5) == whole[::-1]


def test_a_folder_without_a_model_says_what_to_put_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigurationError, match=r"holds no captioner .*hf download Salesforce/blip"):
        captioner.load(str(tmp_path / "absent"))
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(ConfigurationError, match="holds no captioner that transformers can load"):
        captioner.load(str(tmp_path))
