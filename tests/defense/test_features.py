"""Features computed once train as pixels do, and the trunk runs once over the images instead of once a step."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import open_clip
import pytest
import torch

from immunize.attacks import PGD
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, train
from immunize.defense.features import Features
from immunize.defense.terms import Anchor, Contrast
from immunize.defense.trainable import learnt
from immunize.models import Architecture, Clip, Normalization, build
from immunize.models.initial import Small
from immunize.threats import Ball

TEXT = Method((Contrast(),), trains="text")


@pytest.fixture
def still(small: Small, pairs: Pairs) -> Clip:
    """A model of one's own whose batch norms keep their statistics."""
    return replace(small, frozen_statistics=True).make(pairs.captions, 0)


def test_embeddings_by_image_id(still: Clip, pairs: Pairs) -> None:
    batch = pairs.batch(torch.tensor([7, 3, 90]))
    found = Features(still, pairs, block=10)(batch)
    assert torch.allclose(found, still.encode_image(batch.images), atol=1e-5)
    found.sum().backward()
    assert still.net.visual.head.proj.weight.grad.abs().sum() > 0


def test_training_is_the_same_with_and_without(
    still: Clip, small: Small, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = replace(small, frozen_statistics=True).make(pairs.captions, 0)
    runs = [0, 0]
    for place, model in enumerate((still, other)):
        model.trunk.register_forward_hook(lambda *_, place=place: runs.__setitem__(place, runs[place] + 1))
    training = Training(steps=8, batch=48, lr=1e-3, warmup=1)
    list(train(still, pairs, TEXT, training, tmp_path / "features"))
    monkeypatch.setattr(Method, "repeats_features", lambda *_: False)
    list(train(other, pairs, TEXT, training, tmp_path / "pixels"))
    assert runs == [2, 8]  # 96 images in blocks of 64, against one run a step
    for (name, one), two in zip(still.named_parameters(), other.parameters(), strict=True):
        assert torch.allclose(one, two, atol=1e-4), name


def test_only_where_nothing_about_the_images_changes(still: Clip, fresh_model: Clip) -> None:
    attacked = Method((Contrast(image="attacked"),), PGD(Ball("linf", 4 / 255)), "text")
    anchored = Method((Contrast(), Anchor(of="clean")), trains="text")
    assert TEXT.repeats_features(still)
    assert not attacked.repeats_features(still) and not anchored.repeats_features(still)
    assert not Method((Contrast(),)).repeats_features(still)
    assert not TEXT.repeats_features(fresh_model)  # its batch norms follow the batches


def test_a_tower_without_a_trunk_of_its_own_stays_as_a_whole() -> None:
    config = {"embed_dim": 8, "vision_cfg": {"image_size": 32, "layers": 1, "width": 64, "patch_size": 32},
              "text_cfg": {"width": 32, "heads": 2, "layers": 1}}  # fmt: skip
    model = build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer())
    trained = set(learnt(model, TEXT.trains))
    assert not trained & set(model.net.visual.parameters()) and model.net.text_projection in trained
    assert not TEXT.repeats_features(model)
