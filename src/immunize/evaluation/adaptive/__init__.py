"""Attacks on a system that detects, chooses and answers; they know it, and succeed where it errs and does not flag.

`evaluate(system, pairs, attacks)` runs them (adaptive.md calls them A0 to A5), serves what they found, and takes each item at
its worst; `Probe` puts the attacks themselves on trial (A6). `temporal` attacks a policy over a stream (A4).
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.evaluation.adaptive.aware import Aware
from immunize.evaluation.adaptive.evading import Evading
from immunize.evaluation.adaptive.evaluate import CLEAN, WORST, Adaptive, Table, evaluate
from immunize.evaluation.adaptive.gradient_free import GradientFree
from immunize.evaluation.adaptive.oblivious import Oblivious, Transferred
from immunize.evaluation.adaptive.pipeline import Pipeline
from immunize.evaluation.adaptive.sanity import Probe, distrust
from immunize.evaluation.adaptive.steering import Company, Steering
from immunize.evaluation.adaptive.system import Known, Purifying, Response, Screened, Static, Steerable, System
from immunize.evaluation.adaptive.target import Target, paired
from immunize.evaluation.adaptive.verdict import Row, Share
from immunize.evaluation.adaptive.wording import Both, Wording

AdaptiveAttack = Annotated[
    Oblivious | Aware | Pipeline | Wording | Both | Steering | Company | GradientFree, Field(discriminator="kind")
]

__all__ = [
    "CLEAN", "WORST", "Adaptive", "AdaptiveAttack", "Aware", "Both", "Company", "Evading", "GradientFree", "Known", "Oblivious",
    "Pipeline", "Probe", "Purifying", "Response", "Row", "Screened", "Share", "Static", "Steerable", "Steering", "System",
    "Table", "Target", "Transferred", "Wording", "distrust", "evaluate", "paired",
]  # fmt: skip
