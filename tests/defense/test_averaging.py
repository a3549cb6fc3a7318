"""Weights averaged along the run and with those of the start, by hand."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from immunize.data.loader import Pairs
from immunize.defense import Method, Training, checkpoint, train
from immunize.defense.averaging import Running
from immunize.defense.terms import Contrast
from immunize.models import Clip
from immunize.models.blending import frozen_copy
from immunize.models.initial import Small

METHOD = Method((Contrast(),))


def test_the_running_mean_by_hand() -> None:
    model = nn.BatchNorm1d(1)
    running, expected = Running(model, 0.3), 1.0
    for step, value in enumerate([2.0, 5.0, -1.0, 3.0, 4.0, 8.0]):
        with torch.no_grad():
            model.weight.fill_(value)
            assert model.num_batches_tracked is not None
            model.num_batches_tracked += 1
        running.update(model, step)
        keep = min(0.3, (1 + step) / (10 + step))
        expected = keep * expected + (1 - keep) * value
    assert running.state["weight"].item() == pytest.approx(expected)
    assert running.state["num_batches_tracked"] == 6


def test_the_result_is_the_running_mean_or_a_blend_with_the_start(small: Small, pairs: Pairs, tmp_path: Path) -> None:
    """Two steps: the second weights, the first, and the start are known from shorter runs with the same rates."""

    def after(steps: int, **fields: float) -> Clip:
        model = small.make(pairs.captions, 0)
        training = Training(steps=steps, batch=8, lr=1e-3, warmup=9, log=1, checkpoint=1, **fields)  # type: ignore[arg-type]
        list(train(model, pairs, METHOD, training, tmp_path / f"{steps}{fields}"))
        return model

    start, first, second = (after(steps).state_dict() for steps in (0, 1, 2))
    blended, mean = after(2, blend=0.25).state_dict(), after(2, average=0.9).state_dict()
    name = "net.text_projection"
    assert torch.allclose(blended[name], 0.25 * second[name] + 0.75 * start[name], atol=1e-7)
    one = 0.1 * start[name] + 0.9 * first[name]
    assert torch.allclose(mean[name], 2 / 11 * one + 9 / 11 * second[name], atol=1e-7)
    assert not torch.allclose(mean[name], second[name], atol=1e-5)
    count = "net.visual.trunk.bn1.num_batches_tracked"
    assert blended[count] == mean[count] == second[count] == 2
    assert checkpoint.fingerprint(after(2, blend=0.0)) != checkpoint.fingerprint(after(2))


def test_a_frozen_copy_stays_when_the_model_moves(fresh_model: Clip) -> None:
    copy = frozen_copy(fresh_model.train())
    before = checkpoint.fingerprint(copy)
    with torch.no_grad():
        for parameter in fresh_model.parameters():
            parameter += 1
    assert checkpoint.fingerprint(copy) == before and not copy.training and fresh_model.training
    assert not any(p.requires_grad for p in copy.parameters()) and copy.tokenizer is fresh_model.tokenizer


def test_the_radius_grows_over_the_ramp() -> None:
    widths = [Training(steps=9, ramp=4).width(step) for step in range(6)]
    assert widths == [0.25, 0.5, 0.75, 1.0, 1.0, 1.0] and Training(steps=9).width(0) == 1.0
