"""Each reason to distrust the attack is planted once, and the flag that names it falls; an honest attack has none."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor

from immunize.attacks import PGD
from immunize.batch import Batch
from immunize.evaluation.adaptive import Probe, Static, distrust, evaluate
from immunize.evaluation.adaptive.system import Known
from immunize.evaluation.results import Flag
from immunize.models.wrapped import Wrapped
from immunize.threats import Ball

ASCENT = PGD(Ball("linf", 3 / 255), steps=20, step=0.1, objective="margin")
PROBE = Probe(ASCENT, images=8, queries=100)


def flags(system: Any, batch: Batch, probe: Probe = PROBE) -> dict[str, Flag]:
    return {flag.name: flag for flag in distrust(Known(system), batch, probe, seed=0)}


def fallen(found: dict[str, Flag]) -> set[str]:
    return {name.split(":")[0] for name, flag in found.items() if not flag.ok}


def test_an_honest_attack_is_trusted(fragile: Any, robust: Any, plain: Batch, quarters: Batch) -> None:
    """On a model that falls and on one that does not: standing is no reason for distrust."""
    found = flags(Static(fragile), plain)
    assert fallen(found) == set() == fallen(flags(Static(robust), quarters))
    assert {name.split(":")[0] for name in found} == {
        "slope_zero", "slope_tiny", "huge_ball", "radius_helps", "steps_help", "converged", "black_box_not_stronger",
        "noise_not_stronger", "noise_not_strongest",
    }  # fmt: skip
    assert all(flag.meaning and isinstance(flag.ok, bool) for flag in found.values())


def test_the_figures_are_shares_of_the_pairs(fragile: Any, plain: Batch) -> None:
    found = flags(Static(fragile), plain)
    assert found["slope_zero:none"].value == 0 and found["huge_ball:none"].value == 0
    assert found["noise_not_strongest:none"].value == -1 and found["radius_helps:none"].limit == pytest.approx(
        0.5 / 8**0.5
    )


def test_too_few_steps_have_not_converged(fragile: Any, plain: Batch) -> None:
    """Three steps of a hundredth of the radius fell none, six of them six of eight."""
    slow = replace(ASCENT, step=0.01, steps=3, random_start=False)
    found = flags(Static(fragile), plain, replace(PROBE, attack=slow))
    assert not found["converged:none"].ok and found["converged:none"].value >= 0.5


class Uphill(Wrapped):
    """The slope turned around: the ascent goes down, and random search does better."""

    def encode_image(self, images: Tensor) -> Tensor:
        return self.model.encode_image(2 * images.detach() - images)


def test_a_slope_that_lies(fragile: Any, plain: Batch) -> None:
    """Not small and not zero, and wrong: only the comparisons see it."""
    names = fallen(flags(Static(Uphill(fragile)), plain, replace(PROBE, queries=200)))
    assert {"huge_ball", "black_box_not_stronger"} <= names and not names & {"slope_zero", "slope_tiny"}


def test_an_attack_from_elsewhere_that_is_stronger(make: Any, fragile: Any, plain: Batch) -> None:
    found = flags(make.Planted({"none": fragile, "lies": Uphill(fragile)}), plain)
    assert not found["undefended_not_stronger:lies"].ok and "undefended_not_stronger:none" not in found


def test_a_detector_does_not_make_the_attack_look_weak(make: Any, fragile: Any, plain: Batch) -> None:
    """The share that falls is that of the unflagged, and an attack that knows the detector finds them at every radius."""
    limit = float(1.3 * make.roughness(plain.images).max())
    assert fallen(flags(make.Planted({"none": fragile}, make.roughness, limit), plain)) == set()


def test_the_flags_stand_in_the_table_and_are_the_same_each_time(fragile: Any, plain: Batch) -> None:
    once, twice = (evaluate(Static(fragile), plain, {}, probe=PROBE).flags for _ in range(2))
    assert once == twice and len(once) == 9 and evaluate(Static(fragile), plain, {}).flags == []


def test_the_probe_takes_the_first_pairs(fragile: Any, plain: Batch) -> None:
    found = flags(Static(fragile), plain, replace(PROBE, images=4))
    assert found["radius_helps:none"].limit == pytest.approx(0.5 / 4**0.5)
    assert torch.equal(plain.images, plain.take(torch.arange(8)).images)
