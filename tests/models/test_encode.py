"""Encoding in blocks gives what encoding one by one gives; flags come back as they were."""

from __future__ import annotations

from collections.abc import Sequence

import open_clip
import pytest
import torch
from torch import Tensor

from immunize.models import Architecture, Clip, Normalization, build
from immunize.models.encode import encode_captions, encode_images, untouched

CAPTIONS = ["a red ball", "a", "a red ball", "two shapes , a blue box and a small green star on a plain ground"]


def one_by_one(model: Clip, captions: Sequence[str]) -> Tensor:
    with torch.no_grad():
        return torch.cat([model.encode_text(model.tokenize([caption])) for caption in captions])


@pytest.mark.parametrize("block", [1, 2, 512])
def test_captions_in_order_whatever_the_block(trained: Clip, block: int) -> None:
    found = encode_captions(trained, CAPTIONS, block)
    assert torch.allclose(found, one_by_one(trained, CAPTIONS), atol=1e-5) and torch.equal(found[0], found[2])


def test_a_caption_with_the_padding_id_inside_keeps_its_end() -> None:
    """0 is the id of "!" in CLIP's own vocabulary, and the padding of its tokenizer."""
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
              "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer()).eval()
    captions = ["a dog !; running", "a cat"]
    assert 0 in model.tokenize(captions[:1])
    assert torch.allclose(encode_captions(model, captions), one_by_one(model, captions), atol=1e-5)


def test_a_repeated_caption_is_encoded_once(trained: Clip, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[int] = []
    tokenizer = trained.tokenizer

    def counted(captions: Sequence[str]) -> Tensor:
        seen.append(len(captions))
        return tokenizer(captions)

    monkeypatch.setattr(trained, "tokenizer", counted)
    encode_captions(trained, CAPTIONS * 5)
    assert seen == [3]


def test_images_as_bytes_or_floats(trained: Clip) -> None:
    images = torch.randint(256, (5, 3, 32, 32), dtype=torch.uint8)
    found = encode_images(trained, images, block=2)
    assert torch.allclose(found, encode_images(trained, images / 255), atol=1e-5) and not found.requires_grad


def test_every_flag_is_restored_module_by_module(fresh_model: Clip) -> None:
    """torchattacks restores with `model.train()`, which wakes a frozen batch norm (attacks.md 5.12)."""
    fresh_model.train()
    fresh_model.net.visual.trunk.eval()
    fresh_model.net.token_embedding.requires_grad_(False)
    before = [m.training for m in fresh_model.modules()], [p.requires_grad for p in fresh_model.parameters()]
    assert len(set(before[0])) == len(set(before[1])) == 2
    with pytest.raises(ZeroDivisionError), torch.no_grad(), untouched(fresh_model):
        assert torch.is_grad_enabled()
        assert not any(m.training for m in fresh_model.modules())
        assert not any(p.requires_grad for p in fresh_model.parameters())
        raise ZeroDivisionError
    assert before == ([m.training for m in fresh_model.modules()], [p.requires_grad for p in fresh_model.parameters()])


def test_inference_mode_is_refused_with_the_cure(fresh_model: Clip) -> None:
    """Gradients cannot be had there (attacks.md 5.15)."""
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"use torch\.no_grad"), untouched(fresh_model):
        pass
