"""Masked language modeling: the published shares, and a loss that falls."""

from __future__ import annotations

import pytest
import torch
from torch import Generator

from immunize.defense.checkpoint import fingerprint
from immunize.models import language
from immunize.models.language import MaskedLanguage
from immunize.models.masking import fit, masked

CAPTIONS = ["a red ball on a plain ground", "a blue box at the top left", "two shapes , a tiny green star"]


@pytest.fixture
def model() -> MaskedLanguage:
    torch.manual_seed(0)
    return language.fresh(CAPTIONS, vocabulary=100, width=32, layers=1, length=16)


def test_shares_are_those_of_bert(model: MaskedLanguage) -> None:
    """15 % asked: 80 % of them masked, 10 % random, 10 % left; nothing else changes, special pieces never."""
    encoded = model.encode([caption.split() for caption in CAPTIONS * 800])
    ids, real = encoded["input_ids"], encoded["attention_mask"].bool()
    corrupted, labels = masked(ids, real, model, Generator().manual_seed(0))
    asked, special = labels != -100, torch.isin(ids, torch.tensor(model.tokenizer.all_special_ids))
    assert torch.equal(labels[asked], ids[asked]) and torch.equal(corrupted[~asked], ids[~asked])
    assert not (asked & (special | ~real)).any()
    assert asked.sum().item() / (real & ~special).sum().item() == pytest.approx(0.15, abs=0.01)
    became = corrupted[asked] == model.tokenizer.mask_token_id
    assert became.float().mean().item() == pytest.approx(0.8, abs=0.02)
    kept = (corrupted == ids)[asked].float().mean().item()
    assert kept == pytest.approx(0.1 + 0.1 / len(model.tokenizer), abs=0.02)


def test_the_loss_falls_and_equal_arguments_give_equal_weights(model: MaskedLanguage) -> None:
    state = torch.get_rng_state()
    records = list(fit(model, CAPTIONS, steps=50, batch=16, lr=5e-3, seed=0))
    assert [record["step"] for record in records] == [20, 40, 50] and records[-1]["loss"] < 0.8 * records[0]["loss"]
    assert torch.equal(state, torch.get_rng_state()) and not model.model.training
    torch.manual_seed(0)
    again = language.fresh(CAPTIONS, vocabulary=100, width=32, layers=1, length=16)
    torch.manual_seed(1)
    assert list(fit(again, CAPTIONS, steps=50, batch=16, lr=5e-3, seed=0)) == records
    assert fingerprint(again.model) == fingerprint(model.model)
