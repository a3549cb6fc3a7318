"""Odd input gives a verdict or one clear error: never a crash, never NaN."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import example, given
from torch import Tensor

from immunize.verification.verifier import Verifier

from ..odd import REFUSED, STRANGE, Said, Shown, many, pair, pictures, texts
from .conftest import Fitted


@many
@given(shown=pictures, said=texts)
@example(shown=(32, 32, "zeros", 0), said=("a ", 100_000))
@example(shown=(1, 64, "ones", 0), said=("\x00", 100_000))
def test_a_verdict_or_one_clear_error(fitted: Fitted, shown: Shown, said: Said) -> None:
    image, text, able = pair(shown, said)
    verifier = fitted.verifiers["perceptron"]
    if not able:
        with pytest.raises(ValueError, match=REFUSED):
            verifier.score(image, [text])
        return
    verdict = verifier.score(image, [text])
    finite = bool(torch.isfinite(torch.stack([verdict.misaligned, verdict.manipulated])).all())
    assert finite and verdict.flagged.shape == (1,) and int(verdict.passes) in (2, 12)


@pytest.mark.parametrize("text", STRANGE[:7] + STRANGE[8:])
def test_every_head_and_the_gradient_survive(verifier: Verifier, text: str) -> None:
    images = torch.stack([torch.zeros(3, 32, 32), torch.full((3, 32, 32), 0.5)]).requires_grad_()
    found = verifier.suspicion(images, [text, text])
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert torch.isfinite(found).all() and torch.isfinite(slope).all()


@pytest.mark.parametrize(
    ("images", "said", "message"),
    [
        (torch.zeros(2, 3, 8, 8), ["a"], "2 images and 1 texts"),
        (torch.zeros(1, 3, 8, 8, dtype=torch.uint8), ["a"], "not a tensor of torch.uint8"),
        (torch.zeros(3, 8, 8), ["a"], r"not \(3, 8, 8\)"),
        (torch.zeros(1, 1, 8, 8), ["a"], "the shape is"),
        (torch.zeros(1, 3, 0, 8), ["a"], r"images\[0\] has no pixels: 0 x 8"),
        (torch.zeros(2, 3, 8, 8), ["a", "\udc00b"], r"texts\[1\] holds half"),
    ],
)
def test_what_is_wrong_and_where(verifier: Verifier, images: Tensor, said: list[str], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        verifier.score(images, said)


def test_a_bad_pixel_is_named(verifier: Verifier) -> None:
    images = torch.zeros(3, 3, 8, 8)
    images[2, 1, 4, 5] = math.nan
    with pytest.raises(ValueError, match=r"images\[2\] has nan at channel 1, row 4, column 5"):
        verifier.score(images, ["a", "b", "c"])


def test_padding_hides_nothing(verifier: Verifier) -> None:
    """The answering model skips white space, so the verifier must: 5,000 spaces before a text change no score."""
    image = torch.full((1, 3, 32, 32), 0.5)
    plain = verifier.score(image, ["a large red star"])
    padded = verifier.score(image, [" \n" * 5000 + "a  large\tred star"])
    assert torch.equal(plain.misaligned, padded.misaligned) and torch.equal(plain.manipulated, padded.manipulated)
