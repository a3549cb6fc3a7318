"""Odd input to the adapted model: an answer and a verdict, or one clear error; never a crash, never NaN."""

from __future__ import annotations

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st

from immunize.adaptation.adapted import Adapted

from ..odd import REFUSED, STRANGE, Said, Shown, many, pair, pictures, texts
from .conftest import Shelf


@pytest.fixture(scope="module")
def served(shelf: Shelf) -> Adapted:
    """One model for all that comes: whatever it has seen, it goes on."""
    return shelf.load()


@many
@given(shown=pictures, said=texts)
@example(shown=(32, 32, "zeros", 0), said=("a ", 100_000))
@example(shown=(1, 64, "ones", 0), said=("\x00", 100_000))
@example(shown=(2048, 1, "random", 0), said=("שלום ", 100_000))
def test_an_answer_or_one_clear_error(served: Adapted, shown: Shown, said: Said) -> None:
    image, text, able = pair(shown, said)
    steps = len(served.decisions)
    if not able:
        with pytest.raises(ValueError, match=REFUSED):
            served.respond(image, [text])
        assert len(served.decisions) == steps
        return
    found = served.respond(image, [text])
    for embedding in (found.image, found.text):
        assert embedding.shape == (1, 16) and float(embedding.norm()) == pytest.approx(1, abs=1e-4)
    decision = served.decisions[-1]
    assert len(served.decisions) == steps + 1 and decision.action == served.actions[int(found.action)]
    assert all(abs(score) < float("inf") for score in decision.scores.values()) and found.flagged.shape == (1,)


@pytest.mark.parametrize("action", ["robust", "blur", "clean"])
@given(said=st.sampled_from([text for text in STRANGE if text != "\ud800"]), side=st.sampled_from([1, 2, 31, 33]))
@settings(many, max_examples=12)
def test_every_action_answers_and_what_it_fears_has_a_slope(served: Adapted, action: str, said: str, side: int) -> None:
    images = torch.stack([torch.zeros(3, side, side), torch.full((3, side, side), 0.5)]).requires_grad_()
    model = served.under(action)
    seen = model.encode_image(images)
    (slope,) = torch.autograd.grad(seen[:, 0].sum() + served.suspicion(images, [said, said]).sum(), images)
    with torch.no_grad():
        text = model.encode_text(model.tokenize([said]))
    assert torch.isfinite(seen).all() and torch.isfinite(text).all() and torch.isfinite(slope).all()
