"""From clean, wrongly paired and attacked examples to a verifier: heads, band, thresholds, each from images of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, NamedTuple

import torch
from jaxtyping import Float
from pydantic import Field
from torch import Tensor

from immunize.config import frozen
from immunize.verification import inputs
from immunize.verification.cascade import Band
from immunize.verification.conformal import Threshold, calibrated
from immunize.verification.examples import Examples
from immunize.verification.heads import Head, Perceptron
from immunize.verification.probe import Probe
from immunize.verification.verifier import Stage, Verifier
from immunize.verification.whitening import Whitening
from immunize.verification.wording import LONGEST

Share = Annotated[float, Field(gt=0, lt=1)]


@frozen
class Settings:
    """alpha: the share of clean pairs that may be flagged. shrinkage: of the whitening. seed: of the learnt heads.

    twice: the share of clean pairs that is looked at twice. sure: the share of clean pairs above the band. banded: the
    share of the fitting images that set the band instead of teaching the heads.
    """

    alpha: Share = 0.05
    shrinkage: Annotated[float, Field(ge=0, le=1)] = 0.1
    twice: Share = 0.3
    sure: Share = 0.002
    banded: Share = 0.2
    seed: int = 0


@dataclass(frozen=True, slots=True)
class Material:
    """What a verifier is fitted on: `attacked` by family. Versions of one image share its id, and stay on one side.

    clean, mismatched and benign (shifts that nobody meant) are what `manipulated` is to let pass; mismatched is what
    `misaligned` is to find.
    """

    clean: Examples
    mismatched: Examples
    attacked: Mapping[str, Examples]
    benign: Mapping[str, Examples]


class Measured(NamedTuple):
    """The features of some examples: the cheap ones, and all."""

    cheap: Float[Tensor, "n f"]
    whole: Float[Tensor, "n g"]

    def take(self, rows: Tensor) -> Measured:
        return Measured(self.cheap[rows], self.whole[rows])


class Table(NamedTuple):
    """The features of the material, measured once for every head."""

    clean: Measured
    mismatched: Measured
    attacked: Mapping[str, Measured]
    benign: Mapping[str, Measured]


@torch.no_grad()
def measure(probe: Probe, examples: Examples) -> Measured:
    """Every feature of every example, a block at a time."""
    cheap, whole = [], []
    texts, pixels = inputs.read(examples.texts, LONGEST), examples.images
    for rows in inputs.blocks(pixels):
        images = (pixels[rows].float() / 255).to(probe.answering.device)
        said = [texts[i] for i in rows.tolist()]
        glance = probe.glance(images, said)
        cheap.append(glance.values.cpu())
        whole.append(probe.stare(glance, images, said).values.cpu())
    return Measured(torch.cat(cheap), torch.cat(whole))


def table(probe: Probe, material: Material) -> Table:
    """The features of all of it."""
    attacked, benign = (
        {name: measure(probe, one) for name, one in several.items()} for several in (material.attacked, material.benign)
    )
    return Table(measure(probe, material.clean), measure(probe, material.mismatched), attacked, benign)


def fit(
    probe: Probe, material: Material, calibration: Examples | Measured, settings: Settings, head: Head | None = None
) -> Verifier:
    """Heads on the first images of the material, the band on its last, the thresholds on `calibration` alone.

    calibration: clean pairs that neither a model nor anything here was fitted on; 39 of them at least for an alpha of .05,
    which is split between two scores, or nothing is ever flagged. Raises ValueError where an image is in both.
    """
    if isinstance(calibration, Examples):
        both = sorted(set(calibration.image_ids) & set(material.clean.image_ids))
        if both:
            raise ValueError(f"calibration: {len(both)} images are in the material too, the first is {both[0]}")
        calibration = measure(probe, calibration)
    return fit_table(probe, table(probe, material), calibration, settings, head or Perceptron())


def fit_table(probe: Probe, found: Table, calibration: Measured, settings: Settings, head: Head) -> Verifier:
    """`fit` of features already measured; row i of every part is made of image i."""
    count = len(found.clean.cheap)
    cut = count - max(2, int(settings.banded * count))
    taught, banded = torch.arange(cut), torch.arange(cut, count)
    clean = found.clean.take(taught)
    wrong = found.mismatched.take(taught)
    attacked, benign = ([one.take(taught) for one in several.values()] for several in (found.attacked, found.benign))
    cheap = Whitening.of(clean.cheap, settings.shrinkage)
    whole = Whitening.of(clean.whole, settings.shrinkage)

    def stage(whitening: Whitening, kind: str, passed: list[Measured], found: list[Measured]) -> Stage:
        values = [getattr(one, kind) for one in (*passed, *found)]
        suspicious = torch.arange(sum(map(len, values))) >= sum(len(getattr(one, kind)) for one in passed)
        weights = head.fit(whitening(torch.cat(values)), suspicious, settings.seed)
        return Stage.of(head, whitening, weights, getattr(clean, kind))

    passed = [clean, wrong, *benign]
    first = stage(cheap, "cheap", passed, attacked)
    verifier = Verifier(
        probe=probe,
        head=head,
        misaligned=stage(cheap, "cheap", [clean], [wrong]),
        first=first,
        second=stage(whole, "whole", passed, attacked),
        band=Band.of(first(head, found.clean.take(banded).cheap), settings.twice, settings.sure),
        threshold=Threshold(torch.inf, torch.inf, settings.alpha),
    )
    return replace(verifier, threshold=calibrated(*judged(verifier, calibration), settings.alpha))


def judged(verifier: Verifier, found: Measured) -> tuple[Float[Tensor, " n"], Float[Tensor, " n"]]:
    """The scores (misaligned, manipulated) that `Verifier.score` gives to pairs with these features."""
    first = verifier.first(verifier.head, found.cheap)
    second = verifier.second(verifier.head, found.whole)
    return verifier.misaligned(verifier.head, found.cheap), verifier.band.merged(first, second)
