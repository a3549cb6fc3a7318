"""Embeddings once each and only on demand; what an attack left alone is not embedded again."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import open_clip
import pytest
import torch

from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.defense.sampling import pairs_of_step
from immunize.defense.views import View, Views
from immunize.models import Architecture, Clip, Normalization, build


@pytest.fixture
def clean(pairs: Pairs) -> Batch:
    return pairs_of_step(pairs, 0, 6, 0)


@pytest.fixture
def passes(fresh_model: Clip) -> Counter[str]:
    """How often each half of the model ran."""
    counts: Counter[str] = Counter()
    fresh_model.trunk.layer4.register_forward_hook(lambda *_: counts.update(["image"]))  # type: ignore[union-attr]
    fresh_model.net.ln_final.register_forward_hook(lambda *_: counts.update(["text"]))
    return counts


def test_once_each_and_only_when_asked(fresh_model: Clip, clean: Batch, passes: Counter[str]) -> None:
    attacked = replace(clean, images=clean.images.flip(0), captions=clean.captions[::-1])
    views = Views(fresh_model.eval(), clean, attacked)
    assert not passes
    image = views(View("image"))
    assert passes == {"image": 1} and torch.equal(image, fresh_model.encode_image(clean.images))
    passes.clear()
    assert views(View("image")) is image and not passes
    assert torch.allclose(views(View("image", "attacked")), image.flip(0), atol=1e-5)
    assert not torch.equal(views(View("text", "attacked")), views(View("text"))) and passes == {"image": 1, "text": 2}


def test_what_was_left_alone_is_the_clean_view(fresh_model: Clip, clean: Batch, passes: Counter[str]) -> None:
    views = Views(fresh_model, clean, replace(clean, images=1 - clean.images))
    assert views(View("text", "attacked")) is views(View("text")) and passes == {"text": 1}
    views = Views(fresh_model, clean, replace(clean, captions=clean.captions[::-1]))
    assert views(View("image", "attacked")) is views(View("image"))


def test_places_and_image_come_from_one_pass(fresh_model: Clip, clean: Batch, passes: Counter[str]) -> None:
    wanted = {View("places", "attacked"), View("image")}
    views = Views(fresh_model.eval(), clean, replace(clean, captions=clean.captions[::-1]), wanted=wanted)
    image, places = views(View("image")), views(View("places", "attacked"))
    assert passes == {"image": 1} and places.shape[:1] == image.shape[:1] and places.dim() == 3
    assert torch.allclose(image, fresh_model.encode_image(clean.images), atol=1e-6)
    assert torch.allclose(places.norm(dim=2), torch.ones(places.shape[:2]))


def test_the_reference_gives_no_gradient_and_must_be_there(fresh_model: Clip, clean: Batch) -> None:
    views = Views(fresh_model, clean, clean, fresh_model)  # not frozen, so that it is the views' doing
    assert not views(View("image", "clean", "reference")).requires_grad and views(View("image")).requires_grad
    assert views.scale("reference") == views.scale()
    with pytest.raises(ValueError, match="give the loss its `reference`"):
        Views(fresh_model, clean, clean)(View("text", "clean", "reference"))


def test_an_averaging_towers_embedding_is_the_mean_of_its_places(fresh_model: Clip, clean: Batch) -> None:
    from immunize.models.places import places_of

    fresh_model.eval()
    pixels = torch.cat([clean.images, clean.images.flip(0)], dim=3)
    whole, places = places_of(fresh_model.net.visual, pixels)
    assert places.shape[1] > 1 and torch.allclose(places.mean(dim=1), whole, atol=1e-5)
    assert torch.equal(whole, fresh_model.net.visual(pixels))


def tower(**vision: object) -> Clip:
    config = {
        "embed_dim": 8,
        "vision_cfg": {"image_size": 32, **vision},
        "text_cfg": {"width": 32, "heads": 2, "layers": 1},
    }
    return build(Architecture(config, Normalization(size=32)), open_clip.SimpleTokenizer()).eval()


def test_a_transformers_places_are_its_patches(clean: Batch) -> None:
    model = tower(layers=2, width=64, patch_size=8)
    image, places = model.encode_places(clean.images)
    assert places.shape == (6, 16, 8) and torch.allclose(image, model.encode_image(clean.images), atol=1e-6)
    changed = clean.images.clone()
    changed[:, :, :8, :8] = 0.5
    moved = (model.encode_places(changed)[1] - places).norm(dim=2).mean(dim=0)
    assert moved.argmax() == 0  # the patch that was changed


def test_a_tower_without_a_map_says_so(clean: Batch) -> None:
    with pytest.raises(NotImplementedError, match="ModifiedResNet shows no map of places"):
        tower(layers=(1, 1, 1, 1), width=16).encode_places(clean.images)
    small = tower(timm_model_name="resnet10t", timm_pool="avg", timm_proj="mlp")
    with pytest.raises(NotImplementedError, match="no projection of each place"):
        small.encode_places(clean.images)
