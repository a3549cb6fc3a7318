"""Speed of the attacks as ratios, measured side by side in one run: python benchmarks/attacks.py [--rounds N].

PGD against its floor, the bare model's forward and backward passes to the pixels; the text attack against a loop that
handles one caption at a time, as published scripts do.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Generator

from immunize.attacks import PGD, BertAttack
from immunize.batch import Batch
from immunize.data.scenes import Scenes
from immunize.models import Clip, Normalization
from immunize.models.encode import untouched
from immunize.models.initial import Small
from immunize.threats import Ball, Edits

STEPS = 10


def victim() -> tuple[Clip, Batch]:
    """The model of the default preset, untrained (speed does not depend on the weights), and 64 scenes."""
    records = list(Scenes(counts={"test": 64}, captions=1).records())
    images = torch.stack([_pixels(record.image) for record in records])
    captions = tuple(record.captions[0] for record in records)
    ids = tuple(record.image_id for record in records)
    batch = Batch(images=images, captions=captions, owner=torch.arange(64), image_ids=ids, caption_ids=ids)
    small = Small(
        vision={"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
        text={"width": 128, "heads": 4, "layers": 2},
        normalization=Normalization(size=32),
    )
    return small.make(captions, 0).eval(), batch


def floor(model: Clip, batch: Batch) -> None:
    """STEPS forward and backward passes to the pixels, nothing else."""
    with untouched(model):
        for _ in range(STEPS):
            x = batch.images.clone().requires_grad_()
            torch.autograd.grad(model.encode_image(x).sum(), x)


def one_by_one(attack: BertAttack, model: Clip, batch: Batch) -> None:
    """The same attack, a caption at a time."""
    for i in range(len(batch)):
        attack(model, _single(batch, i), Generator())


def main(rounds: int) -> None:
    model, batch = victim()
    pgd = PGD(threat=Ball("linf", 4 / 255), steps=STEPS)
    text = BertAttack(threat=Edits(words=1), typos=8, positions=2)
    print(
        f"{platform.processor() or platform.machine()}, {os.cpu_count()} cores, {torch.get_num_threads()} threads, "
        f"torch {torch.__version__}, {len(batch)} pairs, median of {rounds} rounds"
    )
    print("| attack | compared with | time / its time |\n|---|---|---|")
    ratio = _ratio(lambda: pgd(model, batch, Generator()), lambda: floor(model, batch), rounds)
    print(f"| PGD-{STEPS} ({STEPS + 1} forward, {STEPS} backward) | {STEPS} forward + backward | {ratio:.2f} |")
    ratio = _ratio(lambda: text(model, batch, Generator()), lambda: one_by_one(text, model, batch), rounds)
    print(f"| BERT-Attack, one word | the same, caption by caption | {ratio:.3f} (x {1 / ratio:.1f}) |")


def _ratio(ours: Callable[[], object], other: Callable[[], object], rounds: int) -> float:
    """The median over rounds of our seconds over the other's, run in turn."""
    ours(), other()
    return statistics.median(_seconds(ours) / _seconds(other) for _ in range(rounds))


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start


def _pixels(image) -> torch.Tensor:
    return torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8).view(32, 32, 3).permute(2, 0, 1) / 255


def _single(batch: Batch, i: int) -> Batch:
    return replace(
        batch,
        images=batch.images[i : i + 1],
        captions=batch.captions[i : i + 1],
        owner=torch.zeros(1, dtype=torch.int64),
        image_ids=batch.image_ids[i : i + 1],
        caption_ids=batch.caption_ids[i : i + 1],
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    main(parser.parse_args().rounds)
