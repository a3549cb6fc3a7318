"""A model of ours against open_clip's own code on the same weights, and its flags."""

from __future__ import annotations

import open_clip
import pytest
import torch
from torch import nn
from torch.nn.functional import normalize

from immunize.data.loader import Pairs
from immunize.models import Architecture, Clip, DualEncoder, Normalization, build
from immunize.models.clip import MAX_LOGIT_SCALE

TINY = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": 1, "width": 32, "patch_size": 16, "head_width": 16},
    "text_cfg": {"context_length": 77, "vocab_size": 49408, "width": 32, "heads": 2, "layers": 2},
}
CAPTIONS = ["a dog", "two dogs running over grass , wow !", "x"]


@pytest.fixture(scope="module")
def vit() -> Clip:
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = build(Architecture(TINY, Normalization(size=32)), open_clip.SimpleTokenizer())
    return model.eval()


def test_both_kinds_are_dual_encoders(vit: Clip, trained: Clip) -> None:
    assert isinstance(vit, DualEncoder) and isinstance(trained, DualEncoder)
    assert vit.resolution == 32 and vit.device.type == "cpu"


def test_text_cut_at_its_end_is_open_clips_text(vit: Clip) -> None:
    """Causal attention: leaving the padding away changes nothing."""
    tokens = vit.tokenize(CAPTIONS)
    assert tokens.shape[1] < 77
    with torch.no_grad():
        expected = vit.net.encode_text(open_clip.SimpleTokenizer()(CAPTIONS), normalize=True)
        assert torch.allclose(vit.encode_text(tokens), expected, atol=1e-5)


def test_images_are_open_clips_images_after_normalization(vit: Clip) -> None:
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        expected = normalize(vit.net.encode_image((images - 0.5) / 0.5), dim=-1)
        assert torch.allclose(vit.encode_image(images), expected, atol=1e-6)


def test_embeddings_have_norm_one(trained: Clip, pairs: Pairs) -> None:
    with torch.no_grad():
        image = trained.encode_image(pairs.images[:4] / 255)
        text = trained.encode_text(trained.tokenize(pairs.captions[:4]))
    for found in (image, text):
        assert torch.allclose(found.norm(dim=1), torch.ones(4), atol=1e-5)


def test_token_vectors_may_stand_in_for_tokens(trained: Clip) -> None:
    tokens = trained.tokenize(["a red ball", "a box"])
    with torch.no_grad():
        embedded = trained.embed_tokens(tokens)
        assert torch.equal(trained.encode_text(tokens, embedded), trained.encode_text(tokens))
        assert not torch.allclose(trained.encode_text(tokens, embedded.flip(2)), trained.encode_text(tokens), atol=1e-3)


def test_the_temperature_is_bounded(fresh_model: Clip) -> None:
    assert fresh_model.logit_scale.item() == pytest.approx(1 / 0.07, rel=1e-4)
    nn.init.constant_(fresh_model.net.logit_scale, 50.0)
    assert fresh_model.logit_scale.item() == MAX_LOGIT_SCALE


def test_frozen_statistics_stay_as_they_are() -> None:
    config = {
        "embed_dim": 8,
        "vision_cfg": {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
        "text_cfg": {"context_length": 16, "vocab_size": 50, "width": 32, "heads": 2, "layers": 1},
    }
    for frozen in (True, False):
        architecture = Architecture(config, Normalization(size=32), {"channels": [8, 8, 8, 8]}, frozen)
        model = build(architecture, open_clip.SimpleTokenizer()).train()
        norms = [m for m in model.net.visual.modules() if isinstance(m, nn.BatchNorm2d)]
        assert norms and all(norm.training is not frozen for norm in norms) and model.net.visual.training
        before = norms[0].get_buffer("running_mean").clone()
        model.encode_image(torch.rand(4, 3, 32, 32))
        assert torch.equal(norms[0].get_buffer("running_mean"), before) is frozen


def test_a_text_tower_of_another_kind_works_but_takes_no_vectors() -> None:
    model = build(Architecture({**TINY, "custom_text": True}, Normalization(size=32)), open_clip.SimpleTokenizer())
    tokens = model.tokenize(["a dog"])
    assert model.encode_text(tokens).shape == (1, 16)
    with pytest.raises(NotImplementedError, match="takes no token vectors"):
        model.encode_text(tokens, torch.zeros(1, 77, 32))
