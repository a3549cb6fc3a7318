"""How far one defense is ahead of others on the same images, with intervals from these images.

python -m immunize.report.gaps reports/PRESET/results [--of immunized] [--k 1 10]
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from immunize.evaluation.results import WORST, Result, ResultError, read_all
from immunize.metrics.interval import Interval, bootstrap, wilson
from immunize.report.names import HEADLINE, attack_label, defense_label, ordered
from immunize.report.summary import Results, with_worst


class Gap(NamedTuple):
    """Points of recall, and the interval of that difference."""

    mean: float
    interval: Interval

    def __str__(self) -> str:
        text = f"{self.mean:+.1f} ({self.interval.low:+.1f} to {self.interval.high:+.1f})"
        return text if 0 in self.interval else f"**{text}**"


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table for each k; raises ResultError for results that are not of the same examples."""
    parser = argparse.ArgumentParser(description="Paired differences between defenses, image by image.")
    parser.add_argument("results", type=Path, help="reports/PRESET/results")
    parser.add_argument("--of", default="immunized", help="the defense that the others are held against")
    parser.add_argument("--k", type=int, nargs="+", default=[1], help="of R@k")
    chosen = parser.parse_args(arguments)
    if min(chosen.k) < 1:
        parser.error(f"--k: R@{min(chosen.k)} is nothing; 1 is the least")
    results = read_all(chosen.results)
    if chosen.of not in results:
        parser.error(f"--of: no results of '{chosen.of}' in {chosen.results}; there are {', '.join(results)}")
    print("\n".join(table(results, chosen.of, k) for k in chosen.k))


def table(results: Results, of: str, k: int = 1) -> str:
    """Defenses down, attacks across: R@k of `of` less that of the row, `TR / IR`, with 95 % intervals; bold without 0."""
    known = {defense: with_worst(by_attack) for defense, by_attack in results.items()}
    attacks = [attack for attack in HEADLINE if all(attack in by_attack for by_attack in known.values())]
    lines = [
        f"| {defense_label(of)} over | " + " | ".join(map(attack_label, attacks)) + " |",
        "|:--|" + "--:|" * len(attacks),
    ]
    for other in ordered(known):
        if other != of:
            cells = [" / ".join(map(str, gaps(known[of][attack], known[other][attack], k))) for attack in attacks]
            lines.append(f"| {defense_label(other)} | " + " | ".join(cells) + " |")
    note = f"Points of R@{k}, image → text / text → image; 95 % bootstrap over images, the same for both."
    return "\n".join([*lines, "", note, ""])


def gaps(one: Result, other: Result, k: int, samples: int = 1000, seed: int = 0) -> tuple[Gap, Gap]:
    """R@k(one) - R@k(other), image to text and text to image, each image with all its captions being one draw."""
    if _examples(one) != _examples(other):
        raise ResultError(
            f"{one.defense} and {other.defense} under {one.attack} were not asked the same; evaluate again"
        )
    sides = (
        (one.image_rank, other.image_rank, range(len(one.image_rank))),
        (one.caption_rank, other.caption_rank, one.owner),
    )
    image, caption = (
        _gap(torch.tensor(a), torch.tensor(b), torch.tensor([*owner]), k, samples, seed) for a, b, owner in sides
    )
    return image, caption


def _examples(result: Result) -> tuple[object, ...]:
    """What two results must share to be set against each other; `worst` has the settings of one of its attacks."""
    settings = None if result.attack == WORST else result.config
    return result.data_hash, result.image_ids, result.caption_ids, result.owner, settings


def _gap(one: Tensor, other: Tensor, owner: Tensor, k: int, samples: int, seed: int) -> Gap:
    ahead = (one < k).double() - (other < k).double()
    mean = 100 * float(ahead.mean())
    if bool((ahead == ahead[0]).all()):  # every draw is alike: a bootstrap would claim certainty
        arm = wilson(0, len(owner.unique())).high
        return Gap(mean, Interval(max(mean - arm, -100.0), min(mean + arm, 100.0)))
    return Gap(mean, bootstrap(ahead, owner, rng=torch.Generator().manual_seed(seed), samples=samples))


if __name__ == "__main__":
    main()
