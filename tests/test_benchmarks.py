"""The pieces of the benchmark do what they say: nothing here is timed."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Generator

from immunize.attacks import PGD, SGA, BertAttack
from immunize.batch import Batch
from immunize.data.loader import Pairs
from immunize.models import Clip, DualEncoder, language
from immunize.models.encode import encode_captions, encode_images
from immunize.threats import Ball


@pytest.fixture(scope="module", autouse=True)
def reachable() -> Iterator[None]:
    """`benchmarks` lies beside `src`, where nothing that is installed looks for it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(Path(__file__).parents[1]))
        yield


@pytest.fixture(scope="module")
def pair_batch(pairs: Pairs) -> Batch:
    return pairs.batch(torch.arange(6))


def test_the_victim_is_one_model_to_peers_and_to_us() -> None:
    from benchmarks.victim import CLASSES, batch, fresh

    model = fresh()
    assert isinstance(model, DualEncoder)
    assert abs(sum(p.numel() for p in model.visual.parameters()) / 1e6 - 2.74) < 0.01
    clean = batch(model, 4)
    text = encode_captions(model, clean.gallery)
    cosines = encode_images(model, clean.images) @ text.T
    assert text.shape == (CLASSES, 128) and torch.equal(text, model.prototypes)
    torch.testing.assert_close(model(clean.images), model.logit_scale * cosines)


def test_a_victim_that_learnt_nothing_is_refused(tmp_path: Path) -> None:
    from benchmarks.victim import fitted, fresh
    from safetensors.torch import save_file

    save_file(fresh().state_dict(), tmp_path / "victim.safetensors")
    with pytest.raises(RuntimeError, match=r"victim\.safetensors"):
        fitted(tmp_path)


def test_after_the_first_round_only_the_quickest_rival_runs() -> None:
    from benchmarks.timing import in_turns

    calls = {"ours": 0, "slow": 0, "quick": 0}

    def way(name: str, work: int) -> int:
        calls[name] += 1
        return sum(range(work))

    ways = {"ours": lambda: way("ours", 10), "slow": lambda: way("slow", 3_000_000), "quick": lambda: way("quick", 10)}
    timings = in_turns(ways, rounds=3, rivals=("slow", "quick"))
    assert calls == {"ours": 3, "slow": 1, "quick": 3}
    assert timings["slow"].over(timings["ours"]) > 1 and len(timings["slow"].seconds) == 1


@pytest.mark.parametrize("legacy", [True, False])
def test_the_loop_and_ours_make_the_same_edits(
    trained: Clip, pair_batch: Batch, language_folder: str, legacy: bool
) -> None:
    """With the same candidates and the same importance, wherever the most important word has a harmful substitute."""
    from benchmarks.published_loop import TextLoop
    from benchmarks.text import FREE

    ours = BertAttack(FREE, language=language_folder, candidates=6, legacy_offset=legacy)
    known = language.load(language_folder)
    length = known.model.config.max_position_embeddings
    loop = TextLoop(known, 6, offset=0 if legacy else 1, importance="distance", pieces=length)
    image = encode_images(trained, pair_batch.images)[pair_batch.owner]
    mine = ours(trained, pair_batch, Generator()).captions
    theirs = loop(trained, pair_batch.captions, image)
    went_on = [a == b for a, b in zip(mine, pair_batch.captions)]  # where ours stops, the loop tries the next word
    assert not all(went_on)
    assert [a for a, on in zip(mine, went_on) if not on] == [b for b, on in zip(theirs, went_on) if not on]


def test_the_loop_pads_to_the_whole_context_and_reads_masks_as_letters(
    trained: Clip, pair_batch: Batch, language_folder: str
) -> None:
    """methods.md 4.1.3: it costs more, and gives what one padded encoding gives."""
    from benchmarks.published_loop import TextLoop

    seen: list[tuple[int, ...]] = []
    hook = trained.net.token_embedding.register_forward_pre_hook(lambda module, args: seen.append(args[0].shape))
    loop = TextLoop(language.load(language_folder), pieces=48)
    with torch.no_grad():
        text = loop.encode(trained, pair_batch.captions[:3])
    hook.remove()
    assert seen == [(3, len(trained.net.positional_embedding))]
    torch.testing.assert_close(text, encode_captions(trained, pair_batch.captions[:3]), rtol=1e-4, atol=1e-5)


def test_the_set_loop_is_as_strong_as_sga(trained: Clip, pair_batch: Batch, language_folder: str) -> None:
    """The same threat and budget, other random numbers: mean cosines within a few hundredths."""
    from benchmarks.published_loop import SetLoop, TextLoop
    from benchmarks.text import FREE

    scales = (0.5, 1.5)
    text = BertAttack(FREE, language=language_folder, candidates=6, legacy_offset=True)
    image = PGD(Ball("linf", 2 / 255), steps=10, scales=scales)
    loop = SetLoop(TextLoop(language.load(language_folder), 6, importance="distance", pieces=48), scales=scales)
    attacked = (
        SGA(text, image)(trained, pair_batch, Generator().manual_seed(0)),
        loop(trained, pair_batch, Generator().manual_seed(0)),
    )
    for result in attacked:
        assert (result.images - pair_batch.images).abs().max() <= 2 / 255 + 1e-6
    ours, theirs = (_cosine(trained, result) for result in attacked)
    assert ours < _cosine(trained, pair_batch) - 0.1
    assert abs(ours - theirs) < 0.05


def _cosine(model: Clip, batch: Batch) -> float:
    image = encode_images(model, batch.images)[batch.owner]
    return (image * encode_captions(model, batch.captions)).sum(dim=1).mean().item()


MAT = {
    "outer": [{"kind": "contrast", "image": "attacked", "text": "attacked"}],
    "inner": {
        "kind": "sga",
        "again": False,
        "text": {"kind": "bert_attack", "threat": {"words": 1}, "candidates": 4, "typos": 2, "importance": "gradient"},
        "image": {"kind": "pgd", "threat": {"norm": "linf", "eps": "4/255"}, "steps": 2},
    },
}


def test_a_steps_passes_are_all_recorded_and_can_be_replayed(
    fresh_model: Clip, pairs: Pairs, language_folder: str
) -> None:
    """PGD-2 judges three images, of which two have a gradient; the loss has one pass of each tower to the weights."""
    from benchmarks.training import parsed, recorded, replay, step

    method = parsed({**MAT, "inner": {**MAT["inner"], "text": {**MAT["inner"]["text"], "language": language_folder}}})  # type: ignore[dict-item]
    batch, passes = pairs.batch(torch.arange(4)), []  # type: ignore[var-annotated]
    with recorded(passes, method):
        method.loss(fresh_model.train(), batch, Generator().manual_seed(0)).backward()
    images = [one for one in passes if one.inputs and one.inputs[0].dim() == 4]
    assert [(one.wants, one.learns, one.training) for one in images[-4:]] == [
        ((True,), False, False),
        ((True,), False, False),
        ((False,), False, False),
        ((False,), True, True),
    ]
    assert any(not one.inputs for one in passes)  # the language model's
    assert [one.learns for one in passes if one.inputs and one.inputs[0].dim() == 2][-1]
    before = [p.grad.clone() for p in fresh_model.parameters() if p.grad is not None]
    replay(fresh_model, passes)
    after = [p.grad for p in fresh_model.parameters() if p.grad is not None]
    assert all(map(torch.equal, before, after)) and all(p.requires_grad for p in fresh_model.parameters())
    found = step(fresh_model, pairs, method, batch=8, rounds=2)
    assert found.over > 0 and 0 < found.text < 1 and found.passes > 5


@pytest.mark.slow
def test_speed_and_memory_are_measured_in_processes_of_their_own(
    fresh_model: Clip, world: Path, language_folder: str, tmp_path: Path
) -> None:
    from benchmarks.scaling import Case, against_batch, doubled, figure, measured

    from immunize import models

    models.save(fresh_model, tmp_path / "model")
    case = Case(str(tmp_path / "model"), str(world), {"outer": [{"kind": "contrast"}]}, 8, steps=1)
    points = against_batch(case, (4, 8), 4)
    assert [(p.batch, p.chunk) for p in points] == [(4, None), (8, None), (8, 4)]
    assert all(p.speed > 0 and p.memory > 2**27 for p in points)
    assert measured(case, 2).processes == 2
    assert all(0 < ratio < math.inf for ratio in doubled(case, 1))
    figure(points, tmp_path / "training.svg")
    drawn = (tmp_path / "training.svg").read_text()
    assert "chunks of 4" in drawn and "Peak memory" in drawn
