"""What every serving-time defense promises, over the whole union."""

from __future__ import annotations

from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks.image import PGD
from immunize.attacks.victim import bank_of
from immunize.batch import Batch, Image
from immunize.config import ConfigurationError, dump, parse
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import encode_captions, encode_images
from immunize.models.initial import Small
from immunize.models.wrapped import Wrapped
from immunize.objectives import margin
from immunize.serving import NoGradient, Serving, Undefended
from immunize.threats import Ball

DOCS = Path(__file__).parents[2] / "docs" / "methods" / "serving.md"
Defenses = dict[str, Serving]


class Counting(Wrapped):
    """How many images, forward and backward, the vision tower is asked about."""

    def __init__(self, model: DualEncoder) -> None:
        Wrapped.__init__(self, model)
        self.seen = 0

    def encode_image(self, images: Image) -> Tensor:
        self.seen += len(images)
        embedded = self.model.encode_image(images)
        if embedded.requires_grad:
            embedded.register_hook(self.count)
        return embedded

    def count(self, gradient: Tensor) -> None:
        self.seen += len(gradient)


def test_every_member_of_the_union_is_here(defenses: Defenses) -> None:
    assert {type(defense) for defense in defenses.values()} == set(get_args(get_args(Serving)[0]))


def test_every_defense_is_on_the_page(case: str, defenses: Defenses) -> None:
    assert f"`{defenses[case].kind}`" in DOCS.read_text()


def test_a_defense_is_its_configuration(case: str, defenses: Defenses) -> None:
    assert parse(dump(defenses[case]), Serving, "serving") == defenses[case]
    with pytest.raises(ConfigurationError, match="unheard_of"):
        parse(dump(defenses[case]) | {"unheard_of": 1}, Serving, "serving")


def test_it_is_a_model_of_unit_embeddings(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    model = defenses[case].around(clip)
    assert isinstance(model, DualEncoder)
    assert (model.device, model.resolution) == (clip.device, clip.resolution)
    image, text = encode_images(model, batch.images), encode_captions(model, batch.captions)
    assert image.shape == (6, 16) and text.shape == (12, 16)
    assert torch.allclose(image.norm(dim=1), torch.ones(6), atol=1e-5)
    assert torch.allclose(text.norm(dim=1), torch.ones(12), atol=1e-5)


def test_the_modality_it_does_not_defend_is_the_models_own(
    case: str, defenses: Defenses, clip: Clip, batch: Batch
) -> None:
    model = defenses[case].around(clip)
    image = torch.equal(encode_images(model, batch.images), encode_images(clip, batch.images))
    text = torch.equal(encode_captions(model, batch.captions), encode_captions(clip, batch.captions))
    typo = ["a re dball at the center", *batch.captions]
    spelled = torch.equal(encode_captions(model, typo), encode_captions(clip, typo))
    mixed = "weights" in case or case == "interpolated"
    assert image == (case == "none" or case.startswith("denoise"))
    assert text == (not mixed)  # captions without a doubtful word are read as they are
    assert spelled == (not mixed and "denoise" not in case and case != "then")


def test_the_same_again_whatever_the_company(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    model, other = defenses[case].around(clip), defenses[case].around(clip)
    whole, texts = model.encode_image(batch.images), encode_captions(model, batch.captions)
    assert torch.equal(whole, other.encode_image(batch.images))
    parts = [model.encode_image(batch.images[rows]) for rows in ([4], [0, 1, 2], [5, 3])]
    assert torch.allclose(torch.cat(parts)[[1, 2, 3, 5, 0, 4]], whole, atol=2e-3)  # a sign may flip where it is 0
    one = encode_captions(model, batch.captions[5:6])
    assert torch.allclose(one, texts[5:6], atol=1e-5)


def test_nothing_is_left_behind(case: str, defenses: Defenses, small: Small, pairs: Pairs, batch: Batch) -> None:
    model = small.make(pairs.captions, 0).eval()
    model.net.visual.head.train()
    model.net.token_embedding.requires_grad_(False)
    state = {name: value.clone() for name, value in model.state_dict().items()}
    flags = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    pixels, before = batch.images.clone(), torch.get_rng_state()
    defended = defenses[case].around(model)
    encode_images(defended, batch.images), encode_captions(defended, [*batch.captions, "a rde blal"])
    assert flags == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])
    assert all(torch.equal(value, state[name]) for name, value in model.state_dict().items())
    assert all(p.grad is None for p in model.parameters())
    assert torch.equal(before, torch.get_rng_state()) and torch.equal(pixels, batch.images)


def test_gradients_reach_the_pixels_of_its_twin(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    model, images = defenses[case].twin().around(clip), batch.images.clone().requires_grad_()
    toward = torch.randn(16, generator=Generator().manual_seed(0))
    (gradient,) = torch.autograd.grad((model.encode_image(images) @ toward).sum(), images)
    assert gradient.isfinite().all() and (gradient != 0).float().mean() > 0.5
    assert gradient.flatten(1).norm(dim=1).min() > 1e-4


def test_the_twin_says_what_is_served(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    served, twin = (encode_images(d.around(clip), batch.images) for d in (defenses[case], defenses[case].twin()))
    assert (served * twin).sum(dim=1).min() > 0.99
    assert defenses[case].twin().kind == defenses[case].kind


def test_what_has_no_gradient_says_so_instead_of_a_zero(
    case: str, defenses: Defenses, clip: Clip, batch: Batch
) -> None:
    """A masked gradient would pass for robustness."""
    model, images = defenses[case].around(clip), batch.images.clone().requires_grad_()
    try:
        (gradient,) = torch.autograd.grad(model.encode_image(images).sum(), images)
        assert gradient.abs().max() > 0
    except NoGradient as error:
        assert "twin()" in str(error) and defenses[case].twin() != defenses[case]


def test_the_twin_can_be_attacked(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    """And what was found by its gradients is worse for what is served than the clean images are."""
    attack = PGD(Ball("linf", 16 / 255), steps=5, objective="cross_entropy")
    found = attack(defenses[case].twin().around(clip), batch, Generator().manual_seed(0))
    served = defenses[case].around(clip)
    reached = [margin(encode_images(served, b.images), bank_of(served, b)).mean() for b in (batch, found)]
    assert reached[1] > reached[0] + 0.02


def test_it_costs_what_it_says(case: str, defenses: Defenses, clip: Clip, batch: Batch) -> None:
    if "interpolated" in case or "weights" in case:
        assert defenses[case].passes == 1  # a Clip of its own, which nobody can stand before
        return
    counting = Counting(clip)
    defenses[case].around(counting).encode_image(batch.images)
    assert counting.seen == defenses[case].passes * len(batch)


def test_an_empty_batch_is_answered(case: str, defenses: Defenses, clip: Clip) -> None:
    model = defenses[case].around(clip)
    assert model.encode_image(torch.zeros(0, 3, 32, 32)).shape == (0, 16)
    assert len(model.tokenize([])) == 0


@pytest.mark.parametrize("size", [(32, 32), (7, 51), (1, 1)])
def test_odd_images_are_answered(case: str, size: tuple[int, int], defenses: Defenses, clip: Clip) -> None:
    for level in (0.0, 1.0):
        answer = encode_images(defenses[case].around(clip), torch.full((2, 3, *size), level))
        assert answer.isfinite().all() and torch.allclose(answer.norm(dim=1), torch.ones(2), atol=1e-4)


def test_odd_captions_are_answered(case: str, defenses: Defenses, clip: Clip) -> None:
    odd = ["", " ", "x" * 100_000, "re " * 5_000, "!" * 9_999, "שלום", "🙂 rde", "a\x00b", "(rde),", "reed\u200b ball"]
    answer = encode_captions(defenses[case].around(clip), odd)
    assert answer.isfinite().all() and torch.allclose(answer.norm(dim=1), torch.ones(len(odd)), atol=1e-4)


def test_no_defense_is_the_model(clip: Clip) -> None:
    assert Undefended().around(clip) is clip


def test_wrappers_keep_the_flags_of_a_module(case: str, defenses: Defenses, clip: Clip) -> None:
    model: Any = defenses[case].around(clip)
    assert isinstance(model, nn.Module) and not clip.training
