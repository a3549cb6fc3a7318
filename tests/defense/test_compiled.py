"""A compiled tower trains as it does without, under the same names, and is left as it was."""

from __future__ import annotations

import pytest
import torch

from immunize.data.loader import Pairs
from immunize.defense.compiled import compiled
from immunize.defense.sampling import pairs_of_step
from immunize.models import Clip


@pytest.mark.filterwarnings("ignore")
def test_compiled_is_the_same_function(fresh_model: Clip, pairs: Pairs) -> None:
    """Traced and differentiated ahead of time, without the C++ that `inductor` would make of it."""
    images, names = pairs_of_step(pairs, 0, 4, 0).images, list(fresh_model.state_dict())
    expected = fresh_model.eval().encode_image(images)
    (slope,) = torch.autograd.grad(expected[:, 0].sum(), [fresh_model.net.visual.head.proj.weight])
    with compiled(fresh_model, backend="aot_eager"):
        assert list(fresh_model.state_dict()) == names
        assert fresh_model.net.visual._compiled_call_impl is not None
        found = fresh_model.encode_image(images)
        (again,) = torch.autograd.grad(found[:, 0].sum(), [fresh_model.net.visual.head.proj.weight])
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(again, slope, rtol=1e-3, atol=1e-4)
    assert fresh_model.net.visual._compiled_call_impl is None


def test_not_wanted_is_not_done(fresh_model: Clip) -> None:
    with compiled(fresh_model, wanted=False):
        assert fresh_model.net.visual._compiled_call_impl is None
