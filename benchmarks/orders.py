"""Does moving image and text at once beat one after the other? python benchmarks/orders.py [--images N] [--seeds N].

Every order may take ten gradient steps on the image within 4/255, and change two words of a caption, on the models and
the test split of the default preset (`dvc repro` makes them). What each of them spent is printed beside the recall.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from torch import Generator

from immunize.attacks import PGD, SGA, Attack, BertAttack, SepAttack, Simultaneous, Then
from immunize.attacks.text import Relaxed
from immunize.data.loader import Pairs
from immunize.evaluation.blocks import quantized
from immunize.evaluation.suite import score
from immunize.metrics.interval import bootstrap
from immunize.metrics.retrieval import recall
from immunize.models import load
from immunize.models.remembering import Remembering
from immunize.threats import Ball, Edits

ROOT = Path(__file__).parents[1]
DATA, MODELS = ROOT / "data" / "scenes" / "collect", ROOT / "models" / "scenes"
VICTIMS = {"pretrained": MODELS / "pretrain", "MAT": MODELS / "immunize" / "mat"}


def orders(language: str) -> Mapping[str, Attack]:
    """Ten gradients on the image and ten on mixtures of words in each order; below, the words by BERT-Attack's search."""
    edits = Edits(words=2)
    image, half = PGD(Ball("linf", 4 / 255), steps=10), PGD(Ball("linf", 4 / 255), steps=5)
    ten = Relaxed(edits, language=language, candidates=20, typos=12, steps=10)
    five = replace(ten, steps=5)
    bert = BertAttack(edits, language=language, candidates=20, typos=12, positions=3)
    return {
        "separately": SepAttack(ten, image),
        "image, text": Then((image, ten)),
        "text, image": SGA(ten, image, again=False),
        "text, image, text": SGA(five, image),
        "at once": Simultaneous(ten, replace(image, steps=0)),
        "at once, image, text": Simultaneous(five, half, last=five),
        "text, image (BERT-Attack)": SGA(bert, image, again=False),
        "text, image, text (BERT-Attack)": SGA(bert, image),
        "at once, image, text (BERT-Attack last)": Simultaneous(five, half, last=bert),
    }


def main(images: int, seeds: int) -> None:
    pairs = Pairs.read(DATA, "test")
    captions = int((pairs.owner < images).sum())
    owner = pairs.owner[:captions]
    print(
        f"{images} images, {captions} captions, gallery of {len(pairs)} images, {seeds} seeds, torch {torch.__version__}\n"
    )
    print("| victim | order | TR@1 | IR@1 | mean cosine | forwards | backwards | texts | seconds |")
    print("|---|---|--:|--:|--:|--:|--:|--:|--:|")
    for victim, folder in VICTIMS.items():
        model = Remembering(load(folder)).eval()
        for name, attack in orders(str(MODELS / "language")).items():
            hits: tuple[list[torch.Tensor], list[torch.Tensor]] = ([], [])
            cosine, spent, start = [], [], time.perf_counter()
            for seed in range(seeds):
                after = attack(model, pairs.batch(torch.arange(images), whole=True), Generator().manual_seed(seed))
                pixels = torch.cat([quantized(after.images), pairs.images[images:]])
                attacked = replace(pairs, images=pixels, captions=after.captions + pairs.captions[captions:])
                ranks, similarity = score(model, attacked)
                hits[0].append(ranks.image[:images])
                hits[1].append(ranks.caption[:captions])
                cosine.append(similarity[:captions].mean())
                outcome = after.outcome
                spent.append(torch.stack([outcome.forwards, outcome.backwards, outcome.texts]).float().mean(dim=1))
            tr = _interval(torch.cat(hits[0]), torch.arange(images).repeat(seeds))
            ir = _interval(torch.cat(hits[1]), owner.repeat(seeds))
            costs = " | ".join(f"{count:.0f}" for count in torch.stack(spent).mean(dim=0).tolist())
            seconds = (time.perf_counter() - start) / seeds
            print(
                f"| {victim} | {name} | {tr} | {ir} | {torch.stack(cosine).mean():.3f} | {costs} | {seconds:.1f} |",
                flush=True,
            )


def _interval(ranks: torch.Tensor, owner: torch.Tensor) -> str:
    """R@1 with its 95 % bootstrap interval, images drawn with all that is theirs."""
    around = bootstrap(ranks < 1, owner, rng=Generator().manual_seed(0))
    return f"{recall(ranks, 1):.1f} [{around.low:.1f}, {around.high:.1f}]"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--images", type=int, default=100)
    parser.add_argument("--seeds", type=int, default=3)
    given = parser.parse_args()
    main(given.images, given.seeds)
