"""What every attack promises its caller, of any victim: once more, in parts, in training, at the border, already fooled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch import Generator, Tensor, nn

from immunize.attacks import Attack, Noise
from immunize.attacks.black_box import Transfer
from immunize.attacks.image import Universal
from immunize.batch import Batch, Embedding, Image
from immunize.data.loader import Pairs
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.models.wrapped import Wrapped

Score = Callable[[Batch], Tensor]
Threats = Callable[[str], list[Any]]


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def numpy_state() -> list[int]:
    state: Any = np.random.get_state()
    return [*state[1].tolist(), state[2]]


def test_once_more_is_the_same_and_leaves_no_trace(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch
) -> None:
    """The same seed, the same result; without gradients around it, where nearly every library raises (attacks.md 5.15).

    The clean batch is untouched, and so is global randomness: torchattacks and AutoAttack seed it, SGA draws from numpy's
    (attacks.md 5.13).
    """
    copy, captions = batch.images.clone(), tuple(batch.captions)
    before = torch.get_rng_state(), numpy_state()
    with torch.no_grad():
        again = cases[name](trained, batch, rng())
    after = torch.get_rng_state(), numpy_state()  # Python's own moves with every type check
    assert torch.equal(before[0], after[0]) and before[1] == after[1]
    assert torch.equal(batch.images, copy) and batch.captions == captions and batch.images.grad is None
    assert torch.equal(again.images, outcomes[name].images) and again.captions == outcomes[name].captions


def test_independent_of_the_batch_size(
    name: str, cases: dict[str, Attack], outcomes: dict[str, Batch], trained: Clip, batch: Batch, distance: Score
) -> None:
    """Outcomes, not bits: a gradient near 0 flips its sign with the order of a sum, and a verdict at the boundary its side."""
    whole = distance(outcomes[name])
    parts = [batch.take(torch.tensor([0, 1])), batch.take(torch.tensor([2, 3, 4, 5]))]
    found = torch.cat([distance(cases[name](trained, part, rng())) for part in parts])
    assert torch.allclose(found, whole, atol=1e-2)


def test_no_gradient_and_no_flag_is_left_behind(
    name: str, cases: dict[str, Attack], small: Small, pairs: Pairs, batch: Batch
) -> None:
    """Gradients accumulated, modes flipped: fatal inside training (attacks.md 5.12, 5.14); a frozen norm stays so."""
    model = small.make(pairs.captions, 0).train()
    next(m for m in model.modules() if isinstance(m, nn.BatchNorm2d)).eval()
    model.net.token_embedding.requires_grad_(False)
    kept = torch.full_like(model.net.text_projection, 3.0)
    model.net.text_projection.grad = kept.clone()
    state = {key: value.clone() for key, value in model.state_dict().items()}
    flags = [m.training for m in model.modules()], [p.requires_grad for p in model.parameters()]
    assert len(set(flags[0])) == len(set(flags[1])) == 2
    cases[name](model, batch, rng())
    assert flags == ([m.training for m in model.modules()], [p.requires_grad for p in model.parameters()])
    assert all(torch.equal(value, state[key]) for key, value in model.state_dict().items())
    assert [name for name, p in model.named_parameters() if p.grad is not None] == ["net.text_projection"]
    assert torch.equal(model.net.text_projection.grad, kept)


def test_inference_mode_is_one_clear_error(name: str, cases: dict[str, Attack], trained: Clip, batch: Batch) -> None:
    with torch.inference_mode(), pytest.raises(RuntimeError, match=r"torch\.no_grad\(\)"):
        cases[name](trained, batch, rng())


def test_saturated_pixels_move(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch, margins: Score, balls: Threats
) -> None:
    """Parametrizations of the box such as tanh have no gradient at 0 and 1 (attacks.md 5.2): black and white by turns."""
    if not balls(name) or balls(name)[0].norm == "l0":
        return  # a few large moves may all be for the worse
    level = torch.tensor([0.0, 1.0]).repeat(len(batch) // 2)[:, None, None, None]
    flat = replace(batch, images=level.expand_as(batch.images).clone())
    after = cases[name](trained, flat, rng())
    fooled = margins(flat) > 0  # where nothing is left to do, nothing need be done
    still = (after.images - level).abs().flatten(1).amax(dim=1) <= 1e-3
    assert not (still & ~fooled).any() and (~fooled).any()


class Busy(Wrapped):
    """A model that has to be asked about something, as open_clip's vision transformer does."""

    def encode_image(self, images: Image) -> Embedding:
        assert len(images), "no images"
        return self.model.encode_image(images)

    def encode_text(self, tokens: Tensor, embedded: Tensor | None = None) -> Embedding:
        assert len(tokens), "no texts"
        return self.model.encode_text(tokens, embedded)


def test_nothing_is_left_to_attack(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch, margins: Score
) -> None:
    """Images that the wrong captions fool from the start: early stop empties the batch, and the model is not asked."""
    turned = replace(batch, captions=batch.captions[4:] + batch.captions[:4], truth=(None,) * len(batch))
    fooled = turned.take((margins(turned) > 0.5).nonzero()[:, 0])
    assert len(fooled)
    after = cases[name](Busy(trained), fooled, rng())
    assert after.outcome is not None and after.outcome.success.any()


def test_pairs_that_are_all_far_apart_are_attacked_too(
    name: str, cases: dict[str, Attack], trained: Clip, batch: Batch, distance: Score, margins: Score, edits: Threats
) -> None:
    """Negative similarities throughout: a maximum clamped at 0 would see nothing to do (attacks.md 5.1)."""
    if isinstance(cases[name], Universal | Transfer | Noise):
        return  # fitted on the captions as they are, or never shown them
    turned = replace(batch, captions=batch.captions[4:] + batch.captions[:4], truth=(None,) * len(batch))
    before, after = distance(turned), cases[name](trained, turned, rng())
    assert (before > 0).any() and after.outcome is not None
    if edits(name):  # captions move away from their own image, whatever that does to the rank among the others
        assert (distance(after) - before)[before > 0].mean() > 0.01
        return
    assert (margins(after) >= margins(turned) - 1e-3)[~after.outcome.success].all()
