"""Is this pair what it seems? `verifier.score(images, texts) -> Verdict`, calibrated on clean pairs, differentiable."""

from __future__ import annotations

from immunize.verification.conformal import Threshold
from immunize.verification.fitting import Material, Settings, fit
from immunize.verification.probe import Probe
from immunize.verification.storage import load, save
from immunize.verification.verifier import Verdict, Verifier

__all__ = ["Material", "Probe", "Settings", "Threshold", "Verdict", "Verifier", "fit", "load", "save"]
