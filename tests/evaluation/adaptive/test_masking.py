"""Defenses that only hide their slope: the harness must break them, and say which slope was hidden."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Generator, Tensor

from immunize.attacks import PGD
from immunize.attacks.black_box import Square
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.evaluation.adaptive import (
    Aware,
    GradientFree,
    Oblivious,
    Pipeline,
    Probe,
    Static,
    Steering,
    distrust,
    evaluate,
    paired,
)
from immunize.evaluation.adaptive.system import Known
from immunize.models import Clip
from immunize.threats import Ball

BALL = Ball("linf", 3 / 255)
ASCENT = PGD(BALL, steps=20, step=0.1, objective="margin", random_start=False)
NAIVE = {"oblivious": Oblivious(ASCENT), "aware": Aware(ASCENT, weights=(0.0, 1.0))}
AROUND = {"pipeline": Pipeline(ASCENT, samples=1, votes=1, modes=("sum",), weights=(0.0,))}


def percent(table: Any, name: str) -> float:
    hits = table.rows[name].success
    return 100 * sum(hits) / len(hits)


def fallen(system: Any, batch: Batch, attack: PGD = ASCENT) -> set[str]:
    probe = Probe(attack, images=8, queries=100)
    return {flag.name for flag in distrust(Known(system), batch, probe, seed=0) if not flag.ok}


def test_the_defense_is_the_identity_with_a_vanished_slope(make: Any, fragile: Any, plain: Batch) -> None:
    masked, x = make.Masked(fragile), plain.images.clone().requires_grad_()
    assert torch.allclose(masked.encode_image(x), fragile.encode_image(x), atol=1e-3)
    (seen,) = torch.autograd.grad(masked.encode_image(x)[:, 0].sum(), x)
    (true,) = torch.autograd.grad(fragile.encode_image(x)[:, 0].sum(), x)
    assert 0 < seen.norm() < 1e-12 * true.norm()
    assert (seen.sign() == true.sign()).float().mean() > 0.8


@pytest.mark.parametrize("attack", [*NAIVE.values(), *AROUND.values(), Steering(ASCENT)], ids=lambda one: one.kind)
def test_a_masked_slope_is_broken_in_float32(attack: Any, make: Any, fragile: Any, plain: Batch) -> None:
    """Steps go by the sign, and slopes of 1e-15 have one: below 100 % the harness is at fault."""
    table = evaluate(make.Planted({"none": make.Masked(fragile)}), plain, {"it": attack})
    assert percent(table, "clean") == 0 and percent(table, "it") == 100


def test_a_tiny_slope_is_not_lost_beside_that_of_a_detector(make: Any, fragile: Any, plain: Batch) -> None:
    """Added up as they are, 1e-15 of a slope is nothing beside the detector's; one at a time both are followed."""
    limit = float(1.3 * make.roughness(plain.images).max())
    system = make.Planted({"none": make.Masked(fragile)}, make.roughness, limit)
    table = evaluate(system, plain, {"it": Aware(ASCENT, weights=(1.0,), modes=("sum", "selective"))})
    found = table.rows["it"].candidates
    assert found["none, selective"] == 8 > found["none, sum 1"]


def test_a_step_in_l2_sees_a_tiny_slope_too(make: Any, fragile: Any, plain: Batch) -> None:
    """The ball divides by the length, floored at 1e-12: slopes come to it in a size of their own."""
    attack = replace(ASCENT, threat=Ball("l2", 0.3))
    table = evaluate(make.Planted({"none": make.Masked(fragile)}), plain, {"it": Aware(attack, weights=(0.0,))})
    assert percent(table, "it") == 100


def test_half_precision_is_reported_as_no_slope(make: Any, fragile: Any, plain: Batch) -> None:
    """In fp16 the slope is exactly zero: nothing white-box falls, and four flags say that this is no robustness."""
    system = make.Planted({"none": make.Masked(fragile, torch.float16)})
    table = evaluate(system, plain, NAIVE | {"square": GradientFree(Square(BALL, queries=200))})
    assert percent(table, "oblivious") <= 25 and percent(table, "aware") <= 25
    assert percent(table, "square") >= 75, "the search without a slope finds what is there"
    assert fallen(system, plain) >= {
        "slope_zero:none",
        "slope_tiny:none",
        "huge_ball:none",
        "black_box_not_stronger:none",
    }


def test_a_tiny_slope_is_reported_in_either_precision(make: Any, fragile: Any, plain: Batch) -> None:
    assert fallen(make.Planted({"none": make.Masked(fragile)}), plain) == {"slope_tiny:none"}
    assert "slope_tiny:none" in fallen(make.Planted({"none": make.Masked(fragile, torch.bfloat16)}), plain)
    assert fallen(Static(fragile), plain) == set()


@pytest.mark.parametrize("kind", ["Quantized", "Purified"])
def test_a_quantizer_without_a_twin_is_broken_around(kind: str, make: Any, fragile: Any, plain: Batch) -> None:
    """By the undefended action's slope or, where the model says what it does, by its own inner model's."""
    hard = getattr(make, kind)(fragile)
    models = {"none": fragile, "hard": hard} if kind == "Quantized" else {"hard": hard}
    only = {name: replace(attack, actions=("hard",)) for name, attack in (NAIVE | AROUND).items()}
    table = evaluate(make.Planted(models), plain, only)
    assert percent(table, "clean") == 0 and percent(table, "aware") == 0
    assert percent(table, "pipeline") == 100
    assert {"slope_zero:hard", "huge_ball:hard"} <= fallen(make.Planted(models), plain)


def test_the_flag_names_the_action_that_hides_and_no_other(make: Any, fragile: Any, plain: Batch) -> None:
    names = fallen(make.Planted({"none": fragile, "hard": make.Quantized(fragile)}), plain)
    assert names and {name.split(":")[1] for name in names} == {"hard"}
    assert "undefended_not_stronger:hard" in names


def test_a_real_jpeg_file_is_broken_around(make: Any, trained: Clip, pairs: Pairs) -> None:
    """No graph passes through a file: the naive attack stands where it started."""
    batch, attack = paired(pairs.batch(torch.arange(12))), replace(ASCENT, threat=Ball("linf", 16 / 255))
    system = make.Planted({"none": trained, "jpeg": make.Jpeg(trained)})
    naive, around = Aware(attack, weights=(0.0,), actions=("jpeg",)), replace(AROUND["pipeline"], attack=attack)
    table = evaluate(system, batch, {"naive": naive, "around": replace(around, actions=("jpeg",))})
    assert table.rows["naive"].success == table.rows["clean"].success
    assert percent(table, "around") >= percent(table, "clean") + 40
    assert "slope_zero:jpeg" in fallen(system, batch, attack)


def test_noise_at_each_call_is_averaged_away(make: Any, fragile: Any, plain: Batch) -> None:
    """Of a random defense a success in one draw is luck; the control is what clean data does in as many."""
    system = make.Planted({"shaky": make.Shaky(fragile, 0.003)})
    table = evaluate(system, plain, AROUND | {"eot": Pipeline(ASCENT, samples=8, backward=("twin",))}, draws=20)
    clean, eot = table.rows["clean"], table.rows["eot"]
    assert sum(clean.rate) / 8 < 0.3 and sum(eot.rate) / 8 > 0.95
    assert sum(clean.ever) >= sum(clean.success) and eot.draws == 20
    assert all(0 <= rate <= 1 and (rate > 0) == ever for rate, ever in zip(clean.rate, clean.ever))


def test_expectation_takes_the_mean_slope_and_the_majority(make: Any, fragile: Any, plain: Batch) -> None:
    """Two draws of opposite offsets: the slope is their sum, a point that one of two calls fooled is not done."""
    from immunize.attacks.image.pgd import Point
    from immunize.evaluation.adaptive.pipeline import Expected
    from immunize.evaluation.adaptive.target import Target, Watched

    class Turns(make.Quantized):  # type: ignore[misc, name-defined]
        calls = 0

        def encode_image(self, images: Tensor) -> Tensor:
            self.calls += 1
            return self.model.encode_image(images + 0.05 * (-1) ** self.calls)

    how = Pipeline(ASCENT, samples=2, votes=2)
    with Target.of(make.Planted({"none": Turns(fragile)}), plain) as target:
        victim = Expected(target, "none", "margin", 0.0, how, "twin")
        x = plain.images.clone().requires_grad_()
        judged = victim.judge(x, victim.all)
        got = victim.slopes(Point(0, x, judged.value, victim.all, Generator())).task
        both = [Watched(target, "none", "margin", 0.0) for _ in range(2)]
        wanted = torch.zeros_like(x)
        values = []
        for one in both:
            value = one.look(x, one.all).task
            values.append(value.detach())
            wanted += one.gradient(value, x, one.all)
    assert torch.allclose(got, wanted, atol=1e-5)
    assert torch.allclose(judged.value, torch.stack(values).mean(dim=0), atol=1e-5)
