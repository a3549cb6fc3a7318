"""What a verdict promises: the same alone or in company, differentiable, calibrated, the same after a journey to disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from immunize.verification import fitting, storage
from immunize.verification.probe import FIRST
from immunize.verification.verifier import Verifier

from .conftest import SETTINGS, Fitted


def test_alone_or_in_company(verifier: Verifier, fitted: Fitted) -> None:
    images, texts = fitted.held.pixels[:9], fitted.held.texts[:9]
    whole = verifier.score(images, texts)
    for rows in ([0], [8, 3], [5, 5, 1]):
        part = verifier.score(images[rows], [texts[i] for i in rows])
        for name in ("misaligned", "manipulated"):
            torch.testing.assert_close(getattr(part, name), getattr(whole, name)[rows], atol=1e-3, rtol=1e-3)
        assert torch.equal(part.passes, whole.passes[rows])


def test_flagged_means_above_a_threshold(verifier: Verifier, fitted: Fitted) -> None:
    verdict = verifier.score(fitted.held.pixels, fitted.held.texts)
    above = (verdict.misaligned > verdict.threshold.misaligned) | (verdict.manipulated > verdict.threshold.manipulated)
    assert torch.equal(verdict.flagged, above)
    assert verdict.threshold.alpha == SETTINGS.alpha


def test_the_thresholds_are_those_of_the_calibration_pairs(verifier: Verifier, fitted: Fitted) -> None:
    """Of 36 pairs the 34th smallest score, ceil(37 * .9), and no more than two exceed it, by each score."""
    for score, threshold in zip(
        fitting.judged(verifier, fitted.calibration), (verifier.threshold.misaligned, verifier.threshold.manipulated)
    ):
        assert threshold == pytest.approx(float(score.sort().values[33]))
        assert int((score > threshold).sum()) <= 2


def test_suspicion_is_the_manipulated_score(verifier: Verifier, fitted: Fitted) -> None:
    """With and without the cascade: what an attacker differentiates is what is served."""
    images, texts = fitted.held.pixels, fitted.held.texts
    with torch.no_grad():
        found = verifier.suspicion(images, texts)
    torch.testing.assert_close(found, verifier.score(images, texts).manipulated, atol=1e-3, rtol=1e-3)


def test_suspicion_has_the_gradient_of_differences(verifier: Verifier, fitted: Fitted) -> None:
    """Along its own direction, in the exact features: JPEG rounds, so views are left out by their straight-through part."""
    images = fitted.held.pixels[:4].clone().requires_grad_()
    found = verifier.suspicion(images, fitted.held.texts[:4])
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert torch.isfinite(slope).all()
    assert (slope.flatten(1).norm(dim=1) > 1e-6).all()
    step = 1e-3 * slope.sign()
    with torch.no_grad():
        glance = verifier.probe.glance(images + step, fitted.held.texts[:4])
        before = verifier.probe.glance(images, fitted.held.texts[:4])
        moved = verifier.first(verifier.head, glance.values) - verifier.first(verifier.head, before.values)
    assert (moved.abs() > 0).all()


def test_the_first_score_has_exact_gradients(verifier: Verifier, fitted: Fitted) -> None:
    """Central differences along a random direction, in one step small enough for float32."""
    images, texts = fitted.held.pixels[:3].clamp(0.02, 0.98), fitted.held.texts[:3]
    x = images.clone().requires_grad_()
    value = verifier.first(verifier.head, verifier.probe.glance(x, texts).values)
    (slope,) = torch.autograd.grad(value.sum(), x)
    direction = slope / slope.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    with torch.no_grad():
        up, down = (
            verifier.first(verifier.head, verifier.probe.glance(images + h * direction, texts).values)
            for h in (3e-3, -3e-3)
        )
    torch.testing.assert_close((up - down) / 6e-3, slope.flatten(1).norm(dim=1), rtol=0.2, atol=0.05)


def test_passes_are_counted(verifier: Verifier, fitted: Fitted) -> None:
    """Two in the first look; in the band four views, two noises, a gradient for three and one text more."""
    verdict = verifier.score(fitted.held.pixels, fitted.held.texts)
    with torch.no_grad():
        first = verifier.first(verifier.head, fitting.measure(verifier.probe, fitted.held).cheap)
    twice = verifier.band.holds(first)
    assert torch.equal(verdict.passes, torch.where(twice, FIRST + 10, FIRST))
    assert 0 < int(twice.sum()) < len(twice)


def test_a_journey_to_disk(verifier: Verifier, fitted: Fitted, tmp_path: Path) -> None:
    storage.save(verifier, tmp_path / "one")
    probe = fitted.probe
    again = storage.load(tmp_path / "one", probe.answering, probe.clean)
    images, texts = fitted.held.pixels[:8], fitted.held.texts[:8]
    before, after = verifier.score(images, texts), again.score(images, texts)
    for name in ("misaligned", "manipulated"):  # some processors add in another order where memory begins elsewhere
        assert torch.allclose(getattr(before, name), getattr(after, name), rtol=1e-4, atol=1e-5), name
    assert torch.equal(before.flagged, after.flagged) and torch.equal(before.passes, after.passes)
    assert before.threshold == after.threshold
    storage.save(again, tmp_path / "two")
    for name in (storage.TENSORS, storage.DESCRIPTION):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    with safe_open(tmp_path / "one" / storage.TENSORS, "pt") as file:
        assert "answering.image" in file.keys()  # noqa: SIM118
    assert {path.name for path in (tmp_path / "one").iterdir()} == {storage.TENSORS, storage.DESCRIPTION}


def test_a_verifier_that_names_no_models_must_be_given_them(verifier: Verifier, tmp_path: Path) -> None:
    storage.save(verifier, tmp_path)
    with pytest.raises(ValueError, match="names no answering model"):
        storage.load(tmp_path)
    with pytest.raises(FileNotFoundError, match="dvc repro"):
        storage.load(tmp_path / "nowhere")


def test_an_image_on_both_sides_is_refused(fitted: Fitted) -> None:
    with pytest.raises(ValueError, match="60 images are in the material too"):
        fitting.fit(fitted.probe, fitted.material, fitted.material.clean, SETTINGS)


def test_nothing_asked_nothing_said(verifier: Verifier) -> None:
    verdict = verifier.score(torch.zeros(0, 3, 8, 8), [])
    assert len(verdict.flagged) == len(verdict.passes) == 0
    assert verifier.suspicion(torch.zeros(0, 3, 8, 8), []).shape == (0,)
