"""A batch cut into parts: the loss and the gradients of the whole one, over every kind of term."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Generator, nn

from immunize.config import parse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, checkpoint, train
from immunize.defense.parts import Draw, Given, backward
from immunize.defense.sampling import generator, pairs_of_step
from immunize.defense.team import Team
from immunize.defense.trainable import learning
from immunize.models import Clip
from immunize.models.blending import frozen_copy
from immunize.models.initial import Small

ASCENT = {"kind": "pgd", "threat": {"norm": "linf", "eps": "8/255"}, "steps": 2}
LEAF = {"kind": "leaf", "threat": {"words": 1}, "rho": 3}
JOINT = {"kind": "sga", "again": False, "text": LEAF, "image": ASCENT}
BOTH = {"image": "attacked", "text": "attacked"}
METHODS: dict[str, dict[str, Any]] = {
    "finetune": {"outer": [{"kind": "contrast"}]},
    "mat": {"outer": [{"kind": "contrast", **BOTH}], "inner": JOINT},
    "vision": {"outer": [{"kind": "contrast", "image": "attacked"}], "inner": ASCENT, "trains": "vision"},
    "text": {
        "outer": [{"kind": "anchor", "tower": "text"}],
        "inner": {"kind": "drift", "text": LEAF},
        "trains": "text",
    },
    "fare": {"outer": [{"kind": "anchor"}], "inner": {"kind": "drift", "image": ASCENT}},
    "trades": {"outer": [{"kind": "contrast"}, {"kind": "divergence"}], "inner": ASCENT},
    "places": {
        "outer": [{"kind": "contrast", "image": "attacked"}, {"kind": "attention"}, {"kind": "triplet"}],
        "inner": ASCENT,
    },
    "immunized": {
        "outer": [
            {"kind": "consistency", "reduction": "sum", **BOTH},
            {"kind": "contrast", **BOTH},
            {"kind": "divergence", "image": "clean", "by": "reference"},
            {"kind": "fused", **BOTH},
        ],
        "inner": JOINT,
    },
    "last blocks": {
        "outer": [{"kind": "contrast", **BOTH}],
        "inner": JOINT,
        "trains": {"kind": "last_blocks", "count": 1},
    },
    "lora": {"outer": [{"kind": "contrast"}], "trains": {"kind": "lora", "rank": 2}},
}


@pytest.fixture
def model(small: Small, pairs: Pairs) -> Clip:
    """A student that is not its reference any more; frozen statistics, as published models are trained."""
    made = replace(small, frozen_statistics=True).make(pairs.captions, 0)
    rng = Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in made.parameters():
            parameter += 0.02 * torch.randn(parameter.shape, generator=rng)
    return made.train()


def gradients(model: Clip) -> dict[str, torch.Tensor]:
    return {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}


@pytest.mark.parametrize("name", METHODS)
@pytest.mark.parametrize("chunk", [3, 8])
def test_loss_and_gradients_are_those_of_the_whole_batch(
    name: str, chunk: int, model: Clip, small: Small, pairs: Pairs
) -> None:
    """8 images in parts of 3, 3 and 2, attacked part by part; and in one part, which takes no second pass."""
    method = parse(METHODS[name], Method, name)
    reference = frozen_copy(replace(small, frozen_statistics=True).make(pairs.captions, 0))
    with learning(model, method.trains):
        model.train()
        whole = method.loss(model, pairs_of_step(pairs, 2, 8, 5, 2), generator(5, 3, 2), reference)
        whole.backward()
        expected = gradients(model)
        model.zero_grad(set_to_none=True)
        found = backward(model, pairs, method, Draw(2, 8, 5, 2, chunk), Given(reference))
        assert found.item() == pytest.approx(whole.item(), rel=1e-5)
        assert gradients(model).keys() == expected.keys() and len(expected) > 3
        largest = max(g.abs().max().item() for g in expected.values())
        for key, gradient in gradients(model).items():
            assert torch.allclose(gradient, expected[key], rtol=1e-3, atol=1e-5 * largest), key


def test_what_a_part_is_compared_with_is_the_whole_batch(model: Clip, pairs: Pairs) -> None:
    """The plain accumulation of the parts' own losses, with the negatives of a part, is something else."""
    method = parse(METHODS["finetune"], Method, "finetune")
    whole = method.loss(model, pairs_of_step(pairs, 0, 8, 0), generator(0, 3, 0))
    batch = pairs_of_step(pairs, 0, 8, 0)
    halves = [method.loss(model, batch.take(torch.arange(k, k + 4)), generator(0, 3, 0)) for k in (0, 4)]
    assert abs(torch.stack(halves).mean() - whole) > 0.1
    assert abs(backward(model, pairs, method, Draw(0, 8, 0, 1, 4)) - whole) < 1e-4


def test_batch_norms_that_train_take_a_parts_statistics_and_move_once(fresh_model: Clip, pairs: Pairs) -> None:
    method = parse(METHODS["finetune"], Method, "finetune")
    norm = next(m for m in fresh_model.train().modules() if isinstance(m, nn.BatchNorm2d))
    loss = backward(fresh_model, pairs, method, Draw(0, 8, 0, 1, 2))
    assert norm.num_batches_tracked == 4 and norm.track_running_stats and norm.training
    whole = method.loss(fresh_model, pairs_of_step(pairs, 0, 8, 0), generator(0, 3, 0))
    assert abs(loss - whole) > 1e-3


def test_dropout_draws_alike_in_both_passes_and_leaves_the_global_state(model: Clip, pairs: Pairs) -> None:
    """Were they different, the gradient would belong to another loss: compared with one chunk's finite difference."""
    model.net.visual.head = nn.Sequential(model.net.visual.head, nn.Dropout(0.3))
    method = parse(METHODS["finetune"], Method, "finetune")
    state = torch.get_rng_state()
    draw, scale = Draw(0, 8, 0, 1, 3), model.net.text_projection
    first = backward(model, pairs, method, draw)
    assert scale.grad is not None and torch.equal(state, torch.get_rng_state())
    way = scale.grad / scale.grad.norm()
    vision = next(p for name, p in model.named_parameters() if "visual" in name and "head" in name and p.ndim == 2)
    assert vision.grad is not None
    away = vision.grad / vision.grad.norm()
    slope = (way * scale.grad).sum() + (away * vision.grad).sum()
    with torch.no_grad():
        scale += 1e-3 * way
        vision += 1e-3 * away
    second = backward(model, pairs, method, draw)
    assert (second - first).item() / 1e-3 == pytest.approx(slope.item(), rel=0.05)


def test_memory_does_not_grow_with_the_negatives(model: Clip, pairs: Pairs) -> None:
    """The most activations that are kept for a backward pass: those of a part, whatever the batch."""
    method = parse(METHODS["finetune"], Method, "finetune")

    def kept(call: Any) -> int:
        alive, most = 0, 0

        class Held:
            def __init__(self, value: torch.Tensor) -> None:
                nonlocal alive, most
                self.value = value.detach()
                alive += self.value.numel()
                most = max(most, alive)

            def __del__(self) -> None:
                nonlocal alive
                alive -= self.value.numel()

        with torch.autograd.graph.saved_tensors_hooks(Held, lambda held: held.value):
            call()
        return most

    parts = {size: kept(partial(backward, model, pairs, method, Draw(0, size, 0, 1, 8))) for size in (8, 48)}
    batch = pairs_of_step(pairs, 0, 48, 0)
    assert parts[48] < 1.4 * parts[8]
    assert kept(lambda: method.loss(model, batch, generator(0)).backward()) > 3 * parts[48]


def test_training_in_parts_is_training(small: Small, pairs: Pairs, tmp_path: Path) -> None:
    recipe = replace(small, frozen_statistics=True)
    method = parse(METHODS["mat"], Method, "mat")
    training = Training(steps=5, batch=16, lr=1e-3, warmup=1, log=1, checkpoint=2)
    whole, parts = (
        list(train(recipe.make(pairs.captions, 0), pairs, method, way, tmp_path / str(way.chunk)))
        for way in (training, replace(training, chunk=5))
    )
    for one, other in zip(whole, parts, strict=True):
        assert one["loss"] == pytest.approx(other["loss"], rel=1e-3)
        assert one["gradient"] == pytest.approx(other["gradient"], rel=1e-2)


def test_what_cannot_be_cut_is_refused(fresh_model: Clip, pairs: Pairs, tmp_path: Path) -> None:
    method = parse({**METHODS["vision"], "leak": True}, Method, "leak")
    with pytest.raises(ValueError, match=r"method\.leak: .*without training\.chunk"):
        next(train(fresh_model, pairs, method, Training(steps=1, batch=8, chunk=4), tmp_path))
    with pytest.raises(ValueError, match=r"training\.batch: 9 processes need as many images a step; it is 8"):
        backward(fresh_model, pairs, replace(method, leak=False), Draw(0, 8, 0), Given(team=Team(0, 9)))
    with pytest.raises(ValueError, match="chunk"):
        parse({"steps": 1, "chunk": 0}, Training, "here")


def test_training_from_disk_is_training_and_goes_on_in_the_middle_of_an_epoch(
    small: Small, pairs: Pairs, world: Path, tmp_path: Path
) -> None:
    """Six steps an epoch, stopped after three: the bytes of the run in memory, whole batches or parts."""
    outside = Pairs.read(world, "train", cache=tmp_path / "pixels")
    method = parse(METHODS["finetune"], Method, "finetune")
    for chunk in (None, 5):
        training = Training(steps=5, batch=16, lr=1e-3, warmup=1, log=1, checkpoint=3, chunk=chunk)
        prints = []
        for given, stop in ((pairs, None), (outside, 4)):
            folder, model = tmp_path / f"{chunk}-{stop}", small.make(pairs.captions, 0)
            if stop:
                list(islice(train(model, given, method, training, folder), stop))
                model = small.make(pairs.captions, 1)
                assert (folder / checkpoint.STATE).exists()
            records = list(train(model, given, method, training, folder))
            prints.append((records, checkpoint.fingerprint(model)))
        assert prints[0] == prints[1]
