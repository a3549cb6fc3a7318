"""The detection table: each attack family and each benign shift, under each head and each baseline."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Generator, Tensor

from immunize.metrics.detection import detection
from immunize.metrics.interval import bootstrap
from immunize.verification.conformal import calibrated
from immunize.verification.examples import Examples
from immunize.verification.fitting import Measured, judged
from immunize.verification.verifier import Verifier

# One cheap feature each, and whether large is suspicious.
BASELINES: Mapping[str, tuple[str, int]] = {
    "msp": ("alignment.peak_texts", -1),
    "cosine": ("alignment.cosine", -1),
    "knn": ("neighborhood.near_image", -1),
    "mahalanobis": ("neighborhood.far_image", 1),
}


class Case(NamedTuple):
    """Examples under one name, of a group (`clean`, `benign`, `train`, `seen`, `unseen`, `aware`), with their features."""

    group: str
    examples: Examples
    features: Measured


def of_head(
    verifier: Verifier, calibration: Measured, cases: Mapping[str, Case], alphas: Sequence[float], seed: int
) -> dict[str, Any]:
    """What a fitted verifier makes of each case; `cases["clean"]` is what the others are told from.

    manipulated: that score alone. either: the larger share of calibration pairs that one of the two scores exceeds, which
    is what the verdict rests on. flagged: percent at each alpha, thresholds from the calibration pairs. missed: percent
    that fooled the model and were not flagged at the first alpha.
    """
    reference = judged(verifier, calibration)
    scores = {name: judged(verifier, case.features) for name, case in cases.items()}
    either = {name: _either(pair, reference) for name, pair in scores.items()}
    thresholds = {f"{alpha:g}": calibrated(*reference, alpha) for alpha in alphas}
    clean, found = cases["clean"].examples, {}
    for name, case in cases.items():
        misaligned, manipulated = scores[name]
        flags = {
            alpha: (misaligned > one.misaligned) | (manipulated > one.manipulated) for alpha, one in thresholds.items()
        }
        row: dict[str, Any] = {"group": case.group, "pairs": len(case.examples)}
        row["flagged"] = {alpha: _share(flag, case.examples, seed) for alpha, flag in flags.items()}
        row["flagged_manipulated"] = _share(manipulated > thresholds[f"{alphas[0]:g}"].manipulated, case.examples, seed)
        if name != "clean":
            row["manipulated"] = _told(scores["clean"][1], manipulated, clean, case.examples, seed)
            row["either"] = _told(either["clean"], either[name], clean, case.examples, seed)
        if case.group not in ("clean", "benign"):
            row |= _success(case.examples.fooled, flags[f"{alphas[0]:g}"])
        found[name] = row
    return found


def of_baselines(names: Sequence[str], cases: Mapping[str, Case], seed: int) -> dict[str, Any]:
    """The same figures for single features, without a fitted head."""
    found: dict[str, Any] = {}
    for baseline, (feature, sign) in BASELINES.items():
        column = list(names).index(feature)
        clean = sign * cases["clean"].features.cheap[:, column]
        found[baseline] = {
            name: {"group": case.group}
            | _told(clean, sign * case.features.cheap[:, column], cases["clean"].examples, case.examples, seed)
            for name, case in cases.items()
            if name != "clean"
        }
    return found


def _either(scores: tuple[Tensor, Tensor], reference: tuple[Tensor, Tensor]) -> Float[Tensor, " n"]:
    """max over the scores of the share of calibration scores below it."""
    ranks = [
        torch.searchsorted(known.sort().values, score.contiguous()) / len(known)
        for score, known in zip(scores, reference)
    ]
    return torch.maximum(*ranks).float()


def _told(
    clean: Float[Tensor, " n"], other: Float[Tensor, " m"], of_clean: Examples, of_other: Examples, seed: int
) -> dict[str, Any]:
    rng = Generator().manual_seed(seed)
    found = asdict(detection(clean, other, of_clean.image_ids, of_other.image_ids, rng=rng))
    return {name: _rounded(value) for name, value in found.items()}


def _share(flags: Bool[Tensor, " n"], examples: Examples, seed: int) -> dict[str, float]:
    """Percent flagged, with its interval over image ids."""
    interval = bootstrap(flags, rng=Generator().manual_seed(seed))
    return _rounded({"share": 100 * float(flags.float().mean()), **asdict(interval)})


def _success(fooled: Bool[Tensor, " n"], flagged: Bool[Tensor, " n"]) -> dict[str, float | None]:
    caught = flagged[fooled]
    return {
        "fooled": _rounded(100 * float(fooled.float().mean())),
        "caught": _rounded(100 * float(caught.float().mean())) if len(caught) else None,
        "missed": _rounded(100 * float((fooled & ~flagged).float().mean())),
    }


def _rounded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _rounded(one) for name, one in value.items()}
    return round(value, 2)
