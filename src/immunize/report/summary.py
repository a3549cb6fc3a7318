"""From per-example outcomes to metrics.json: recall with intervals, and attack success; everything in percent."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor

from immunize.config import frozen
from immunize.evaluation.results import WORST, Result, ResultError
from immunize.metrics.interval import Interval, bootstrap, wilson
from immunize.metrics.retrieval import recall
from immunize.metrics.success import attack_success

Metrics = dict[str, dict[str, dict[str, float]]]
Results = dict[str, dict[str, Result]]


@frozen
class Settings:
    """R@k for each k, and a bootstrap of `samples` draws from `seed`; `shown`: the stage prints a table for each of these.

    Where the right answer seldom comes first, what an attack takes shows at 10.
    """

    seed: int = 0
    k: tuple[int, ...] = (1, 5, 10)
    samples: int = 1000
    shown: tuple[int, ...] = (1,)

    def __post_init__(self) -> None:
        if unknown := sorted(set(self.shown) - {1, *self.k}):
            raise ValueError(f"shown: no R@{unknown[0]}; the k are {self.k}")


def summarize(results: Results, settings: Settings) -> Metrics:
    """defense -> attack -> {tr_r1, ir_r1, ..., *_low, *_high, *_asr, *_asr_conditional}, rounded to 0.01.

    TR is image to text, IR text to image. Where a defense met several attacks, `worst` is their worst on each example.
    Raises ResultError where the clean result an attack is compared with is missing or is about other examples.
    """
    return {
        defense: {
            attack: {name: round(value, 2) for name, value in sorted(_cell(result, by_attack, settings).items())}
            for attack, result in sorted(with_worst(by_attack).items())
        }
        for defense, by_attack in sorted(results.items())
    }


def worst(found: Sequence[Result], clean: Result) -> Result:
    """Of each attacked image and each caption of it the worst rank under any attack on it, or under none.

    An attack that was run on the first images alone has its say on those alone.
    """
    most = max(found, key=lambda result: len(result.image_ids))
    image_rank, caption_rank = list(most.image_rank), list(most.caption_rank)
    for result in (clean, *found):
        for rank, after in ((image_rank, result.image_rank), (caption_rank, result.caption_rank)):
            rank[: len(after)] = map(max, rank, after)
    return replace(most, attack=WORST, image_rank=image_rank, caption_rank=caption_rank)


def with_worst(by_attack: dict[str, Result]) -> dict[str, Result]:
    """The results, and `worst` where there are two attacks. Raises ResultError where that name is taken."""
    attacks = by_attack.keys() - {"clean"}
    if len(attacks) < 2:
        return by_attack
    if WORST in attacks:
        raise ResultError(f"{by_attack[WORST].defense}/{WORST}: that is the name of all attacks together; give another")
    found = [by_attack[attack] for attack in sorted(attacks)]
    (clean, *_) = [_clean(result, by_attack) for result in found]
    return by_attack | {WORST: worst(found, clean)}


def _cell(result: Result, by_attack: dict[str, Result], settings: Settings) -> dict[str, float]:
    cell = _recall("tr", result.image_rank, range(len(result.image_rank)), settings)
    cell |= _recall("ir", result.caption_rank, result.owner, settings)
    if result.attack == "clean":
        return cell
    clean = _clean(result, by_attack)
    for way, before, after in (
        ("tr", clean.image_rank, result.image_rank),
        ("ir", clean.caption_rank, result.caption_rank),
    ):
        success = attack_success(torch.tensor(before[: len(after)]), torch.tensor(after))
        cell |= {f"{way}_asr": success.drop, f"{way}_asr_conditional": success.conditional}
    return cell


def _recall(way: str, ranks: list[int], owner: Sequence[int], settings: Settings) -> dict[str, float]:
    rank = torch.tensor(ranks)
    recalls = {f"{way}_r{k}": recall(rank, k) for k in {1, *settings.k}}
    for k in {1, *settings.shown}:
        interval = _interval(rank < k, torch.tensor(list(owner)), settings)
        recalls |= {f"{way}_r{k}_low": interval.low, f"{way}_r{k}_high": interval.high}
    return recalls


def _interval(hits: Tensor, owner: Tensor, settings: Settings) -> Interval:
    images = len(owner.unique())
    if hits.all() or not hits.any():  # every draw is alike: a bootstrap would claim certainty
        return wilson(images * int(hits.all()), images)
    rng = torch.Generator().manual_seed(settings.seed)  # the same draws for every cell: differences are paired
    return bootstrap(hits, owner, rng=rng, samples=settings.samples)


def _clean(result: Result, by_attack: dict[str, Result]) -> Result:
    clean = by_attack.get("clean")
    where = f"{result.defense}/{result.attack}"
    if clean is None:
        raise ResultError(f"{where} has no {result.defense}/clean to compare with; evaluate clean too")
    images, captions = len(result.image_ids), len(result.caption_ids)  # an attack may have been on the first few alone
    if (clean.image_ids[:images], clean.caption_ids[:captions]) != (result.image_ids, result.caption_ids):
        raise ResultError(f"{where} and {result.defense}/clean are about different examples; evaluate both again")
    return clean
