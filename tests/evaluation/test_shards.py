"""Blocks attacked anywhere in any order are the whole, to the bit: images, captions and what the attacks say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from immunize import models
from immunize.attacks import PGD, SGA, Attack, BertAttack
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import attacked, gathered
from immunize.evaluation.recording import Subject, result
from immunize.evaluation.results import write
from immunize.evaluation.shards import Source, shards, wanted, work
from immunize.evaluation.suite import evaluate, real
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.models.remembering import Remembering

SUBJECT = Subject(preset="tiny", defense="pretrain", model_hash="m", device="cpu")


@pytest.fixture(scope="module")
def source(world: Path, trained: Clip, tmp_path_factory: pytest.TempPathFactory) -> Source:
    root = tmp_path_factory.mktemp("shards")
    models.save(trained, root / "model")
    return Source(root, Path("model"), world, "test")


@pytest.fixture
def attacks(pgd: PGD, typing: BertAttack, joint: SGA) -> dict[str, Attack | None]:
    return {"clean": None, "image": pgd, "text": typing, "joint": joint}


def test_shards_worked_on_backwards_are_the_whole(
    source: Source, held_out: Pairs, attacks: dict[str, Attack | None], tmp_path: Path
) -> None:
    """Every byte of the records but the seconds, with the candidates that the text attacks refused."""
    pieces = [work(shard) for shard in reversed(shards(source, real(attacks), 11, seed=3, block=4))]
    assert len(pieces) == 3
    merged = gathered((one for piece in reversed(pieces) for one in piece), real(attacks), 11)
    one_process = Remembering(models.load(source.root / source.model))
    assert [*evaluate(one_process, {"earlier": attacks["text"]}, held_out, seed=9, sample=3)]  # and leaves what it met
    whole = list(evaluate(one_process, attacks, held_out, seed=3, block=4, sample=11))
    parts = list(evaluate(one_process, attacks, held_out, seed=3, block=4, sample=11, find=lambda *_: merged))
    for one, other in zip(whole, parts, strict=True):
        texts = []
        for each in (one, other):
            write(replace(result(each, SUBJECT, 3, []), seconds=0.0), tmp_path / "result.json")
            texts.append((tmp_path / "result.json").read_bytes())
        assert texts[0] == texts[1]
        assert torch.equal(one.pairs.images, other.pairs.images) and one.pairs.captions == other.pairs.captions
        if one.claims is not None and other.claims is not None:
            assert torch.equal(one.claims.exact, other.claims.exact)
            assert torch.equal(one.claims.outcome.value, other.claims.outcome.value)
    assert sum(bool(one.claims and one.claims.outcome.rejected) for one in whole) == 2


def test_a_block_knows_nothing_of_another(trained: Clip, held_out: Pairs, typing: BertAttack) -> None:
    """What the memory met in another block has other values here, and no one asks for them."""
    model, batch = Remembering(trained), held_out.batch(torch.arange(4), whole=True)
    encode_captions(model, held_out.captions)
    before = dict(attacked(model, {"text": typing}, batch, 0))["text"]
    poisoned = Remembering(trained)
    encode_captions(poisoned, held_out.captions)
    poisoned.recall(
        [caption for caption in before.captions if caption not in batch.captions],
        lambda captions: torch.zeros(len(captions), 16),
    )
    after = dict(attacked(poisoned, {"text": typing}, batch, 0))["text"]
    assert after.captions == before.captions != batch.captions
    assert before.claims is not None and after.claims is not None
    assert torch.equal(after.claims.exact, before.claims.exact)


@pytest.mark.parametrize(("said", "means"), [("", None), ("0", None), ("3", 3), ("auto", "auto")])
def test_the_environment_says_where(monkeypatch: pytest.MonkeyPatch, said: str, means: int | str | None) -> None:
    monkeypatch.setenv("IMMUNIZE_RAY", said)
    assert wanted() == means
