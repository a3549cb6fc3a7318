"""The alarm is above 0 where the verdict flags, has a slope, and the cheap look is that of the first stage."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from immunize.verification import fitting
from immunize.verification.conformal import Threshold
from immunize.verification.verifier import Verifier

from .conftest import Fitted


def shown(fitted: Fitted) -> tuple[torch.Tensor, tuple[str, ...]]:
    """Clean pairs and wrong ones."""
    held = fitted.held
    return torch.cat([held.pixels, held.pixels]), held.texts + tuple(reversed(held.texts))


def test_above_zero_exactly_where_it_is_flagged(verifier: Verifier, fitted: Fitted) -> None:
    """Whichever score does it: thresholds in the middle of each score, and of one score alone."""
    images, texts = shown(fitted)
    verdict = verifier.score(images, texts)
    middle = [float(score.quantile(0.501)) for score in (verdict.misaligned, verdict.manipulated)]
    limits = [(*middle,), (middle[0], torch.inf), (torch.inf, middle[1]), (torch.inf, torch.inf)]
    for misaligned, manipulated in limits:
        one = replace(verifier, threshold=Threshold(misaligned, manipulated, 0.2))
        with torch.no_grad():
            found = one.alarm(images, texts)
        flagged = one.score(images, texts).flagged
        near = found.abs() < 2e-3  # what rounding may turn round
        assert torch.equal((found > 0)[~near], flagged[~near]) and int(near.sum()) <= 2
        assert bool(flagged.any()) == (min(misaligned, manipulated) < torch.inf) and not flagged.all()


def test_it_is_the_larger_excess(verifier: Verifier, fitted: Fitted) -> None:
    images, texts = shown(fitted)
    verdict, limit = verifier.score(images, texts), verifier.threshold
    with torch.no_grad():
        found = verifier.alarm(images, texts).tolist()
    rows = zip(verdict.misaligned.tolist(), verdict.manipulated.tolist())
    expected = [max(a - limit.misaligned, b - limit.manipulated) for a, b in rows]
    assert found == pytest.approx(expected, abs=2e-3, rel=2e-3)


def test_it_has_a_slope_that_leads_down(verifier: Verifier, fitted: Fitted) -> None:
    """A small step against the slope calms at least most pairs, or an attack on it would be a stroll."""
    images, texts = fitted.held.pixels[:8].clamp(0.05, 0.95).requires_grad_(), tuple(reversed(fitted.held.texts))[:8]
    found = verifier.alarm(images, texts)
    (slope,) = torch.autograd.grad(found.sum(), images)
    assert torch.isfinite(slope).all() and (slope.flatten(1).norm(dim=1) > 1e-6).all()
    with torch.no_grad():
        after = verifier.alarm(images - 5e-4 * slope.sign(), texts)
    assert (after < found).float().mean() >= 0.75


def test_the_glance_is_what_the_first_stage_sees(verifier: Verifier, fitted: Fitted) -> None:
    images, texts = fitted.held.pixels, fitted.held.texts
    glance = verifier.look(images, texts)
    assert len(set(glance.names)) == len(glance.names) == glance.values.shape[1]
    torch.testing.assert_close(glance.values, fitting.measure(verifier.probe, fitted.held).cheap, atol=1e-4, rtol=1e-3)
    score = verifier.misaligned(verifier.head, glance.values)
    assert torch.equal(glance.verdict.misaligned, verifier.score(images, texts).misaligned)
    torch.testing.assert_close(score, verifier.score(images, texts).misaligned, atol=1e-3, rtol=1e-3)
    padded = verifier.look(images[:1], [" \n" * 3000 + texts[0]])
    torch.testing.assert_close(padded.values, glance.values[:1], atol=1e-4, rtol=1e-3)


def test_no_pair_has_no_alarm(verifier: Verifier) -> None:
    none = torch.zeros(0, 3, 8, 8)
    assert verifier.alarm(none, []).shape == (0,)
    with pytest.raises(ValueError, match="there is no pair to look at"):
        verifier.look(none, [])
    for ask in (verifier.alarm, verifier.look):
        with pytest.raises(ValueError, match="1 images and 2 texts"):
            ask(torch.zeros(1, 3, 8, 8), ["a", "b"])
