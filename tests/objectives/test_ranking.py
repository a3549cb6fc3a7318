"""Losses against a bank of texts: torch's own, loops in plain Python, several right texts, targets."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy as torch_cross_entropy
from torch.nn.functional import normalize

from immunize.objectives import OBJECTIVES, Bank, cross_entropy, dlr, fooled, infonce, margin

RNG = torch.Generator().manual_seed(0)
IMAGE = normalize(torch.randn(5, 8, generator=RNG), dim=1)
TEXT = normalize(torch.randn(7, 8, generator=RNG), dim=1)
LABELS = torch.tensor([0, 3, 3, 6, 1])
SCALE = torch.tensor(10.0)
BANK = Bank(TEXT, torch.nn.functional.one_hot(LABELS, 7).bool(), SCALE)
AIMED = replace(BANK, target=torch.tensor([1, 2, 4, 0, 5]))
SEVERAL = replace(BANK, own=torch.arange(7)[None].div(2, rounding_mode="floor") == torch.arange(5)[:, None] % 4)
LOGITS = SCALE * IMAGE @ TEXT.T


def ranked(logits: Tensor, right: list[int]) -> bool:
    """Whether some wrong text stands above every right one."""
    values = logits.tolist()
    return max(v for i, v in enumerate(values) if i not in right) > max(values[i] for i in right)


def test_one_right_text_is_the_cross_entropy_of_torch() -> None:
    expected = torch_cross_entropy(LOGITS, LABELS, reduction="none")
    assert torch.allclose(cross_entropy(IMAGE, BANK), expected, atol=1e-5)
    assert AIMED.target is not None
    towards = -torch_cross_entropy(LOGITS, AIMED.target, reduction="none")
    assert torch.allclose(cross_entropy(IMAGE, AIMED), towards, atol=1e-5)


@pytest.mark.parametrize("bank", [BANK, SEVERAL], ids=["one", "several"])
def test_the_margin_is_above_0_exactly_where_a_wrong_text_leads(bank: Bank) -> None:
    right = [row.nonzero().flatten().tolist() for row in bank.own]
    expected = [ranked(*pair) for pair in zip(LOGITS, right, strict=True)]
    assert any(expected) and not all(expected)
    assert (margin(IMAGE, bank) > 0).tolist() == expected == fooled(LOGITS, bank).tolist()


def test_towards_a_target_the_margin_is_that_of_the_target() -> None:
    assert AIMED.target is not None
    for row, target in enumerate(AIMED.target.tolist()):
        others = [v for i, v in enumerate(LOGITS[row].tolist()) if i != target]
        assert margin(IMAGE, AIMED)[row].item() == pytest.approx(LOGITS[row, target].item() - max(others), abs=1e-5)
    assert fooled(LOGITS, AIMED).tolist() == (LOGITS.argmax(dim=1) == AIMED.target).tolist()


def test_dlr_by_hand_and_towards_a_target() -> None:
    logits = torch.tensor([[4.0, 1.0, 3.0, 0.0]])
    bank = Bank(torch.eye(4), torch.tensor([[True, False, False, False]]), torch.tensor(1.0))
    assert dlr(logits, bank).item() == pytest.approx((3 - 4) / (4 - 1))
    aimed = replace(bank, target=torch.tensor([1]))
    assert dlr(logits, aimed).item() == pytest.approx((1 - 4) / (4 - (1 + 0) / 2))


def test_several_right_texts_count_as_one_in_dlr() -> None:
    """Two captions on top, the best wrong text third: (z_(3) - z_(1)) / (z_(1) - z_(3)) would be -1 without a gradient."""
    logits = torch.tensor([[4.0, 3.5, 3.0, 1.0, 0.0]], requires_grad=True)
    bank = Bank(torch.eye(5), torch.tensor([[True, True, False, False, False]]), torch.tensor(1.0))
    value = dlr(logits, bank)
    assert value.item() == pytest.approx((3 - 4) / (4 - 1))
    assert torch.autograd.grad(value.sum(), logits)[0].abs().max() > 0.1
    aimed = replace(bank, target=torch.tensor([3]))
    assert dlr(logits, aimed).item() == pytest.approx((1 - 4) / (4 - (1 + 0) / 2))
    with pytest.raises(ValueError, match="dlr needs 4 texts to rank and has 3"):
        dlr(logits[:, :4], Bank(torch.eye(4), aimed.own[:, :4], SCALE, target=torch.tensor([3])))


@pytest.mark.parametrize("objective", [margin, cross_entropy, dlr])
def test_a_shift_of_all_logits_changes_nothing(objective: object) -> None:
    """Masked by a product the maximum would be clamped at 0 once every logit is negative (attacks.md 5.1)."""
    shift = torch.full((5, 1), 1.0)
    low = replace(BANK, text=torch.cat([TEXT, torch.full((7, 1), -10.0)], dim=1))
    assert (low.logits(torch.cat([IMAGE, shift], dim=1)) < -80).all()
    assert torch.allclose(objective(torch.cat([IMAGE, shift], dim=1), low), objective(IMAGE, BANK), atol=1e-4)  # type: ignore[operator]


def test_dlr_does_not_feel_the_scale() -> None:
    assert torch.allclose(dlr(IMAGE, BANK), dlr(IMAGE, replace(BANK, scale=torch.tensor(300.0))), atol=1e-4)


def test_dlr_says_how_many_texts_it_needs() -> None:
    """In the ports two classes raise an IndexError (attacks.md 5.9)."""
    few = Bank(TEXT[:2], torch.eye(2).bool(), SCALE)
    with pytest.raises(ValueError, match="dlr needs 3 texts to rank and has 2"):
        dlr(IMAGE[:2], few)
    with pytest.raises(ValueError, match="needs 4"):
        dlr(IMAGE[:3], Bank(TEXT[:3], torch.eye(3).bool(), SCALE, target=torch.tensor([1, 2, 0])))


def test_pairs_are_summed_over_the_texts_of_an_image() -> None:
    away, consistency = OBJECTIVES["away"], OBJECTIVES["consistency"]
    for row in range(5):
        right = SEVERAL.own[row].nonzero().flatten().tolist()
        cosines = [float(IMAGE[row] @ TEXT[k]) for k in right]
        assert away(IMAGE, SEVERAL)[row].item() == pytest.approx(-sum(cosines), abs=1e-5)
        assert consistency(IMAGE, SEVERAL)[row].item() == pytest.approx(sum(2 - 2 * c for c in cosines), abs=1e-5)
    pairs = SEVERAL.own.nonzero()
    summed = torch.zeros(5).index_add(0, pairs[:, 0], infonce(IMAGE, TEXT[pairs[:, 1]], pairs[:, 0], SCALE))
    assert torch.allclose(OBJECTIVES["infonce"](IMAGE, SEVERAL), summed, atol=1e-5)


@pytest.mark.parametrize("name", [name for name in OBJECTIVES if name != "infonce"])
def test_an_image_alone_has_the_value_it_has_in_company(name: str) -> None:
    """So finished images may leave the batch; infonce takes its negatives from it."""
    rows = torch.tensor([3, 1, 1])
    objective = OBJECTIVES[name]  # type: ignore[index]
    assert torch.allclose(objective(IMAGE[rows], BANK.take(rows)), objective(IMAGE, BANK)[rows], atol=1e-6)
    assert torch.allclose(objective(IMAGE[rows], AIMED.take(rows)), objective(IMAGE, AIMED)[rows], atol=1e-6)
