"""The loop: it learns, the rate follows its curve, frozen towers stay, and a loss that is not finite stops it."""

from __future__ import annotations

from math import cos, pi
from pathlib import Path
from typing import Any

import pytest
import torch

from immunize.attacks import PGD
from immunize.data.loader import Pairs
from immunize.defense import Diverged, Method, Training, checkpoint, train
from immunize.defense.sampling import generator, pairs_of_step
from immunize.defense.terms import Consistency, Contrast
from immunize.models import Clip
from immunize.models.initial import Small
from immunize.threats import Ball


def test_the_loss_falls_and_what_is_reported_is_its_mean(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    training = Training(steps=25, batch=48, lr=5e-3, warmup=3, log=10)
    records = list(train(fresh_model, pairs, Method((Contrast(), Consistency(weight=0.1))), training, tmp_path))
    assert [record["step"] for record in records] == [10, 20, 25]
    assert records[-1]["loss"] < 0.75 * records[0]["loss"]
    assert all(record.keys() == {"step", "loss", "gradient", "lr"} and record["gradient"] > 0 for record in records)
    assert not fresh_model.training


def test_the_learning_rate_by_hand() -> None:
    training = Training(steps=14, lr=0.8, warmup=4)
    assert [training.rate(step) for step in range(4)] == pytest.approx([0.2, 0.4, 0.6, 0.8])
    expected = [0.4 * (1 + cos(pi * k / 10)) for k in range(10)]
    assert [training.rate(step) for step in range(4, 14)] == pytest.approx(expected)
    assert Training(steps=5, warmup=0, lr=1.0).rate(0) == 1.0


def test_one_step_is_adamw_after_clipping(fresh_model: Clip, small: Small, pairs: Pairs, tmp_path: Path) -> None:
    """Against torch's optimizer on the same gradients; decay on matrices alone."""
    method, training = Method((Contrast(),)), Training(steps=1, batch=16, lr=0.01, warmup=1, clip=0.1, weight_decay=0.5)
    list(train(fresh_model, pairs, method, training, tmp_path))
    expected = small.make(pairs.captions, 0).train()
    method.loss(expected, pairs_of_step(pairs, 0, 16, 0), generator(0, 3, 0)).backward()
    torch.nn.utils.clip_grad_norm_(expected.parameters(), 0.1)
    for parameter in expected.parameters():
        torch.optim.AdamW([parameter], lr=0.01, weight_decay=0.5 if parameter.ndim > 1 else 0.0).step()
    for (name, one), other in zip(fresh_model.named_parameters(), expected.parameters(), strict=True):
        assert torch.allclose(one, other, atol=1e-6), name


@pytest.mark.parametrize("trains", ["vision", "text"])
def test_the_other_tower_stays_to_the_bit(trains: Any, fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    before = {name: p.detach().clone() for name, p in fresh_model.named_parameters()}
    inner = PGD(Ball("linf", 4 / 255), steps=1, objective="infonce")
    method = Method((Contrast("attacked"),), inner, trains)
    list(train(fresh_model, pairs, method, Training(steps=3, batch=8, lr=1e-3, warmup=1), tmp_path))
    vision = {name for name in before if name.startswith("net.visual")}
    trunk = {name for name in before if name.startswith("net.visual.trunk")}
    still = before.keys() - vision if trains == "vision" else trunk
    moved = {name for name, p in fresh_model.named_parameters() if not torch.equal(p, before[name])}
    assert not moved & still and len(moved) > 0.9 * len(before.keys() - still)


def test_zero_steps_change_nothing(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    before = checkpoint.fingerprint(fresh_model)
    assert list(train(fresh_model, pairs, Method((Contrast(),)), Training(steps=0), tmp_path)) == []
    assert checkpoint.fingerprint(fresh_model) == before and not fresh_model.training


def test_a_loss_that_is_not_finite_stops_and_keeps_the_last_good_state(
    fresh_model: Clip, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Poisoned at step 6: the state of step 4 is kept, finite, and training can go on from it."""
    honest, calls = Method.loss, []

    def poisoned(self: Method, *given: object) -> torch.Tensor:
        calls.append(1)
        return honest(self, *given) * (float("nan") if len(calls) == 6 else 1.0)  # type: ignore[arg-type]

    monkeypatch.setattr(Method, "loss", poisoned)
    training = Training(steps=12, batch=8, lr=1e-3, warmup=1, log=2, checkpoint=4)
    with pytest.raises(Diverged, match=r"not finite at step 6: lower `lr` \(now 0\.001\).*kept in .*state\.pt"):
        list(train(fresh_model, pairs, Method((Contrast(),)), training, tmp_path))
    steps, records = checkpoint.resume(tmp_path, fresh_model, torch.optim.AdamW([
        {"params": [p for p in fresh_model.parameters() if p.ndim >= 2]},
        {"params": [p for p in fresh_model.parameters() if p.ndim < 2]},
    ]))  # fmt: skip
    assert steps == 4 and [record["step"] for record in records] == [2, 4]
    assert all(p.isfinite().all() for p in fresh_model.parameters())


def test_without_a_checkpoint_it_says_so(
    fresh_model: Clip, pairs: Pairs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    honest = Method.loss
    monkeypatch.setattr(Method, "loss", lambda *given: honest(*given) * float("inf"))
    with pytest.raises(Diverged, match=r"not finite at step 1: .*No checkpoint had been written"):
        list(
            train(fresh_model, pairs, Method((Contrast(),)), Training(steps=4, batch=8, log=3, checkpoint=3), tmp_path)
        )


def test_a_checkpoint_between_two_records_is_refused() -> None:
    with pytest.raises(ValueError, match="multiple of log"):
        Training(steps=10, log=4, checkpoint=6)


def test_weights_that_the_last_update_broke_are_not_kept(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    """A finite loss and a finite gradient, and a rate that takes the weights beyond every number: nothing is saved."""
    training = Training(steps=4, batch=8, lr=1e30, weight_decay=1e30, warmup=1, log=1, checkpoint=1)
    with pytest.raises(Diverged, match="a weight is not finite at step 1: lower `lr`"):
        list(train(fresh_model, pairs, Method((Contrast(),)), training, tmp_path))
    assert not (tmp_path / checkpoint.STATE).exists()
