"""Detection figures against scikit-learn, a naive loop, and a case worked by hand."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import roc_auc_score
from torch import Generator, Tensor

from immunize.metrics.detection import auroc, detection, tpr

scores = st.lists(st.integers(-4, 4), min_size=1, max_size=20).map(lambda values: torch.tensor(values).float())


def rng(seed: int = 0) -> Generator:
    return Generator().manual_seed(seed)


def naive_tpr(clean: Tensor, attacked: Tensor, fpr: float) -> float:
    """The best rate over all thresholds that keep the false-positive rate."""
    thresholds = [t for t in clean.tolist() if (clean > t).float().mean() <= fpr]
    return max(100 * float((attacked > t).float().mean()) for t in thresholds)


@settings(max_examples=200, deadline=None)
@given(scores, scores)
def test_auroc_is_that_of_scikit_learn_and_of_counting(clean: Tensor, attacked: Tensor) -> None:
    found = auroc(clean, attacked)
    labels = [0] * len(clean) + [1] * len(attacked)
    assert found == pytest.approx(100 * roc_auc_score(labels, torch.cat([clean, attacked]).tolist()))
    wins = sum(1.0 if a > c else 0.5 if a == c else 0.0 for a in attacked.tolist() for c in clean.tolist())
    assert found == pytest.approx(100 * wins / (len(clean) * len(attacked)))


@settings(max_examples=200, deadline=None)
@given(scores, scores, st.sampled_from([0.01, 0.05, 0.2, 0.5]))
def test_tpr_is_the_best_that_the_false_positive_rate_allows(clean: Tensor, attacked: Tensor, fpr: float) -> None:
    assert tpr(clean, attacked, fpr) == pytest.approx(naive_tpr(clean, attacked, fpr))


def test_by_hand() -> None:
    clean, attacked = torch.arange(100.0), torch.tensor([10.0, 94.0, 94.5, 98.0, 98.5, 200.0])
    # five clean scores, 95 to 99, may be exceeded by nothing but more than 94; one, 99, at one percent
    assert tpr(clean, attacked, 0.05) == pytest.approx(100 * 4 / 6)
    assert tpr(clean, attacked, 0.01) == pytest.approx(100 * 2 / 6)


def test_the_intervals_are_those_of_drawing_images_in_a_loop() -> None:
    clean, attacked = torch.randn(12, generator=rng(1)), torch.randn(24, generator=rng(2)) + 1
    ids = [f"i{k}" for k in range(12)]
    found = detection(clean, attacked, ids, ids + ids, rng=rng(), samples=400)
    areas, rates = [], []
    for row in torch.randint(12, (400, 12), generator=rng()).tolist():
        of_clean = clean[row]
        of_attacked = torch.cat([attacked[[i, i + 12]] for i in row])
        areas.append(auroc(of_clean, of_attacked))
        rates.append(naive_tpr(of_clean, of_attacked, 0.05))
    for values, interval in ((areas, found.auroc_interval), (rates, found.tpr5_interval)):
        low, high = torch.tensor(values).double().quantile(torch.tensor([0.025, 0.975]).double()).tolist()
        assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-3)
    assert found.auroc_interval.low < found.auroc < found.auroc_interval.high


def test_copies_of_an_image_do_not_narrow_the_interval() -> None:
    clean, attacked = torch.randn(40, generator=rng(1)), torch.randn(40, generator=rng(2)) + 1
    ids = [f"i{k}" for k in range(40)]
    once = detection(clean, attacked, ids, ids, rng=rng())
    thrice = detection(clean.repeat(3), attacked.repeat(3), ids * 3, ids * 3, rng=rng())
    assert thrice.auroc_interval.low == pytest.approx(once.auroc_interval.low)
    assert thrice.auroc_interval.high == pytest.approx(once.auroc_interval.high)


def test_nothing_to_compare_is_said() -> None:
    with pytest.raises(ValueError, match="3 and 0"):
        detection(torch.zeros(3), torch.zeros(0), ["a", "b", "c"], [], rng=rng())
