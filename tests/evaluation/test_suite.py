"""Outcomes of attacks: 8-bit images, ranks against plain loops, blocks that change nothing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, SGA, Attack, BertAttack, Noise
from immunize.batch import Batch, Outcome
from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import quantized
from immunize.evaluation.recording import Subject, result
from immunize.evaluation.suite import Attacked, evaluate, score
from immunize.models import Clip
from immunize.models.encode import encode_captions
from immunize.threats import Ball

SUBJECT = Subject(preset="tiny", defense="pretrain", model_hash="m", device="cpu")
NOISE = Noise(Ball("linf", 8 / 255))


def test_scores_against_a_loop(trained: Clip, some: Pairs) -> None:
    """Every caption and every image encoded by itself, every pair compared by itself."""
    found, cosine = score(trained, some)
    with torch.no_grad():
        image = torch.cat([trained.encode_image(x[None] / 255) for x in some.images])
        text = torch.cat([trained.encode_text(trained.tokenize([c])) for c in some.captions])
    table, owner = (image @ text.T).tolist(), some.owner.tolist()
    for c, o in enumerate(owner):
        assert cosine[c].item() == pytest.approx(table[o][c], abs=1e-5)
        assert found.caption[c] == sum(table[i][c] >= table[o][c] for i in range(16) if i != o)
    for i in range(16):
        best = max(table[i][c] for c, o in enumerate(owner) if o == i)
        assert found.image[i] == sum(table[i][c] >= best for c, o in enumerate(owner) if o != i)


def test_images_are_rounded_not_cut() -> None:
    levels = torch.tensor([0.0, 0.49, 0.51, 254.6, 255.0]).view(1, 1, 1, 5).expand(1, 3, 1, 5) / 255
    assert quantized(levels)[0, 0, 0].tolist() == [0, 0, 1, 255, 255]


def test_every_attack_starts_from_the_clean_pairs_and_the_same_seed(trained: Clip, some: Pairs) -> None:
    attacks = {"clean": None, "one": NOISE, "two": NOISE}
    clean, one, two = evaluate(trained, attacks, some, seed=3)
    assert (clean.name, one.name, two.name) == ("clean", "one", "two") and clean.pairs is some
    assert torch.equal(one.pairs.images, two.pairs.images) and not torch.equal(one.pairs.images, some.images)
    (other,) = evaluate(trained, {"one": NOISE}, some, seed=4)
    assert not torch.equal(other.pairs.images, one.pairs.images)


def test_the_block_changes_no_result(trained: Clip, some: Pairs, typing: BertAttack, pgd: PGD) -> None:
    """Noise and words to the bit; steps along a gradient's sign in the outcome."""
    attacks: dict[str, Attack | None] = {"noise": NOISE, "text": typing, "image": pgd}
    for whole, parts in zip(evaluate(trained, attacks, some), evaluate(trained, attacks, some, block=5), strict=True):
        assert whole.pairs.captions == parts.pairs.captions and whole.pairs.owner is some.owner
        if whole.name != "image":
            assert torch.equal(whole.pairs.images, parts.pairs.images)
        assert torch.allclose(score(trained, whole.pairs)[1], score(trained, parts.pairs)[1], atol=5e-3)


def test_the_record_says_what_happened_to_each(trained: Clip, some: Pairs, joint: SGA) -> None:
    (attacked,) = evaluate(trained, {"joint": joint}, some, seed=7)
    found = result(attacked, SUBJECT, 7, [])
    ranks, cosine = score(trained, attacked.pairs)
    assert (found.preset, found.defense, found.attack, found.seed) == ("tiny", "pretrain", "joint", 7)
    assert (found.model_hash, found.data_hash) == ("m", some.hash())
    assert (found.image_ids, found.caption_ids) == (list(some.image_ids), list(some.caption_ids))
    assert (found.image_rank, found.caption_rank) == (ranks.image.tolist(), ranks.caption.tolist())
    assert found.similarity == pytest.approx(cosine.tolist(), abs=1e-6)
    assert 0 < max(found.linf) <= 8 / 255 + 1e-6 and 1 <= max(found.changed_words) <= 2
    pairs = zip(some.captions, attacked.pairs.captions, strict=True)
    assert found.changed_words == [sum(a != b for a, b in zip(x.split(), y.split(), strict=True)) for x, y in pairs]
    assert found.counts["captions_unchanged"] == found.changed_words.count(0) and found.counts["images_unchanged"] == 0
    assert parse(found.config, SGA, "here") == joint


def test_a_sample_is_attacked_in_the_whole_gallery(trained: Clip, some: Pairs, typing: BertAttack) -> None:
    """Ranks among all sixteen images, the record of the first five alone; clean data is never cut."""
    attacks: dict[str, Attack | None] = {"clean": None, "noise": NOISE, "text": typing}
    clean, noise, text = evaluate(trained, attacks, some, sample=5, block=2)
    whole = next(evaluate(trained, {"text": typing}, some))
    assert text.pairs.captions == (*whole.pairs.captions[:10], *some.captions[10:])
    assert torch.equal(noise.pairs.images[5:], some.images[5:])
    assert (noise.pairs.images[:5] != some.images[:5]).flatten(1).any(dim=1).all()
    found = result(text, SUBJECT, 0, [])
    ranks, cosine = score(trained, text.pairs)
    assert (found.image_ids, found.caption_ids) == (list(some.image_ids[:5]), list(some.caption_ids[:10]))
    assert (found.image_rank, found.caption_rank) == (ranks.image[:5].tolist(), ranks.caption[:10].tolist())
    assert found.similarity == pytest.approx(cosine[:10].tolist(), abs=1e-6)
    assert found.owner == some.owner[:10].tolist() and found.counts["images_unchanged"] == 5
    assert len(result(clean, SUBJECT, 0, []).image_ids) == 16


def test_a_sample_beyond_the_end_is_everything(trained: Clip, some: Pairs) -> None:
    (attacked,) = evaluate(trained, {"noise": NOISE}, some, sample=500)
    assert attacked.count == 16 and attacked.captions == 32


def test_clean_data_is_a_result_too(trained: Clip, some: Pairs) -> None:
    (clean,) = evaluate(trained, {"clean": None}, some)
    found = result(clean, SUBJECT, 0, [])
    assert found.config == {} and set(found.linf) == {0.0} and set(found.changed_words) == {0}
    assert found.counts == {"captions_unchanged": 32, "images_unchanged": 16}


def posing(self: Noise, model: Clip, batch: Batch, rng: Generator) -> Batch:
    """A success on every image, at a cost that tells the block; a refusal of another name in blocks of four."""
    count = torch.arange(len(batch))
    outcome = Outcome(
        success=count == count,
        value=count.float(),
        forwards=count + len(batch),
        backwards=count * 0,
        texts=count * 2,
        rejected={"odd" if len(batch) == 4 else "even": count},
    )
    return replace(batch, outcome=outcome)


def test_what_the_attack_says_of_itself_is_recorded_block_by_block(
    trained: Clip, some: Pairs, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Noise, "__call__", posing)
    (attacked,) = evaluate(trained, {"posing": NOISE}, some, sample=7, block=4)
    found = result(attacked, SUBJECT, 0, [])
    assert found.success == [True] * 7 and found.backwards == [0] * 7
    assert found.forwards == [4, 5, 6, 7, 3, 4, 5] and found.texts == [0, 2, 4, 6, 0, 2, 4]
    assert (found.counts["odd"], found.counts["even"]) == (6, 3)


def test_the_margins_are_those_of_what_the_attack_returned(trained: Clip, some: Pairs, pgd: PGD) -> None:
    """Before the rounding as the attack judged itself, after it as the images are scored."""
    (attacked,) = evaluate(trained, {"pgd": pgd}, some, block=5)
    claims = attacked.claims
    assert claims is not None and claims.outcome.forwards.tolist() == [pgd.steps + 1] * 16
    assert claims.outcome.success.tolist() == (claims.exact > 0).tolist()
    with torch.no_grad():
        image = trained.encode_image(attacked.pairs.images.float() / 255)
        cosine = trained.logit_scale * image @ encode_captions(trained, some.captions).T
    own = some.owner[None] == torch.arange(16)[:, None]
    expected = cosine.masked_fill(own, -torch.inf).amax(dim=1) - cosine.masked_fill(~own, -torch.inf).amax(dim=1)
    assert torch.allclose(claims.rounded, expected, atol=1e-4) and not torch.equal(claims.rounded, claims.exact)
    undone = ((claims.exact > 0) & (expected <= 0)).sum()
    assert result(attacked, SUBJECT, 0, []).counts["undone_by_rounding"] == undone


def test_a_success_that_rounding_undoes_is_counted(trained: Clip, some: Pairs, pgd: PGD) -> None:
    (attacked,) = evaluate(trained, {"pgd": pgd}, some)
    assert attacked.claims is not None
    exact, rounded = torch.ones(16), torch.tensor([-1.0, 0.0] + [1.0] * 14)
    found = result(replace(attacked, claims=attacked.claims._replace(exact=exact, rounded=rounded)), SUBJECT, 0, [])
    assert found.counts["undone_by_rounding"] == 2


def test_scores_of_the_attacked_are_those_of_all_pairs_anew(trained: Clip, some: Pairs, pgd: PGD) -> None:
    """The images that were not attacked are not encoded again, and nobody can tell."""
    (attacked,) = evaluate(trained, {"pgd": pgd}, some, sample=5)
    anew = score(trained, attacked.pairs)
    assert torch.equal(attacked.after.ranks.image, anew.ranks.image)
    assert torch.equal(attacked.after.ranks.caption, anew.ranks.caption)
    assert torch.allclose(attacked.after.similarity, anew.similarity, atol=1e-5)
    assert torch.equal(attacked.before.ranks.image, score(trained, some).ranks.image)


def test_a_caption_that_lost_a_word_is_no_edit(trained: Clip, some: Pairs) -> None:
    shorter = replace(some, captions=("short", *some.captions[1:]))
    scored = score(trained, some)
    attacked = Attacked(
        pairs=shorter, clean=some, before=scored, after=scored, count=16, name="odd", attack=None, seconds=0.0
    )
    with pytest.raises(ValueError, match="shorter"):
        result(attacked, SUBJECT, 0, [])


def test_the_first_images_keep_their_captions(some: Pairs) -> None:
    batch: Batch = some.batch(torch.tensor([4, 2, 9])).take(torch.tensor([0, 1]))
    expected = some.batch(torch.tensor([4, 2]))
    assert batch.captions == expected.captions and batch.image_ids == expected.image_ids
    assert torch.equal(batch.images, expected.images) and batch.truth == expected.truth
