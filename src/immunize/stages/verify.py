"""Stage `verify`: a verifier for one model, from attacks of some families, and what it finds of these and of others."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import field, replace
from pathlib import Path
from typing import Annotated, Any, Literal

import torch
from pydantic import Field
from torch import Generator

from immunize import models
from immunize.attacks import Attack
from immunize.config import dump, frozen, load, preset
from immunize.data.loader import Pairs, captions_of
from immunize.evaluation.adaptive import Aware, Evading
from immunize.models import DualEncoder
from immunize.models.memory import keep_freed
from immunize.models.remembering import Remembering
from immunize.serving import spelling
from immunize.threats.ball import Radius
from immunize.verification import detecting, examples, fitting, storage
from immunize.verification.detecting import Case
from immunize.verification.examples import Examples
from immunize.verification.fitting import Material, Measured, Settings
from immunize.verification.heads import Head, Logistic, OneClass, Perceptron
from immunize.verification.probe import Probe, corrector, reference
from immunize.verification.verifier import Verifier
from immunize.verification.wording import Vocabulary

Count = Annotated[int, Field(ge=1)]
HEADS: tuple[Head, ...] = (OneClass(), Logistic(), Perceptron())


@frozen
class Shifts:
    """Changes that nobody meant: Gaussian noise (deviations in pixels of [0, 1]), JPEG (qualities), one typo a text."""

    noise: tuple[Radius, ...]
    jpeg: tuple[Annotated[int, Field(ge=1, le=100)], ...]


@frozen
class Params:
    """`answers` and `clean`: folders below models/<preset>, the model that is watched and the branch beside it.

    train: attack families that the heads learn from; seen: the same at other budgets; unseen: families that no head has met.
    head: the one that is saved, of the three that are compared. fit: images of `split` that heads and band learn from, the
    rest sets the thresholds; no model was trained on it. bank: training images that are the reference. sample: test images
    that are attacked, and in whose company an attack has to succeed. aware: attacks that know the verifier which is saved, on
    the first `aware_sample` of these, in the same company. benign: shifts that the heads learn to let pass; shifts: those
    they are tried on. language: the masked model that votes where a misspelling is undone; null: the commonest word.
    """

    answers: str
    clean: str
    train: dict[str, Attack]
    unseen: dict[str, Attack]
    seen: dict[str, Attack] = field(default_factory=dict)
    aware: dict[str, Aware] = field(default_factory=dict)
    split: Literal["calibration", "validation"] = "calibration"
    head: Head = Perceptron()
    settings: Settings = Settings()
    alphas: tuple[float, ...] = (0.05, 0.01)
    fit: Count = 800
    bank: Count = 1024
    sample: Count = 150
    aware_sample: Count = 50
    block: Count = 100
    benign: Shifts = Shifts((1.5 / 255, 3 / 255, 6 / 255), (50,))
    shifts: Shifts = Shifts((4 / 255,), (30,))
    language: str | None = None

    def __post_init__(self) -> None:
        names = [*self.train, *self.seen, *self.unseen, *self.aware]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"train, seen, unseen, aware: {', '.join(twice)} stands in two of them")


def main() -> None:
    params = load("verify", Params)
    root, collected = Path("models") / preset(), Path("data") / preset() / "collect"
    held_out = examples.of(Pairs.read(collected, params.split))
    test = examples.of(Pairs.read(collected, "test"))
    if len(held_out) <= params.fit:
        raise ValueError(
            f"verify.fit: {params.fit} of {len(held_out)} calibration images leave none for the thresholds"
        )
    rows = torch.arange(len(held_out))
    first, rest = held_out.take(rows[: params.fit]), held_out.take(rows[params.fit :])
    probe = make_probe(params, root, collected)
    rng = Generator().manual_seed(params.settings.seed)
    train = attacks(probe.answering, params.train, first, params.block, rng)
    benign = shifted(params.benign, first, params.settings.seed)
    material = Material(first, examples.mismatched(first), train, benign)
    table, calibration = fitting.table(probe, material), fitting.measure(probe, rest)
    cases = tried(probe, params, test, rng)
    names = names_of(probe, test)
    heads = {head.kind: head for head in (*HEADS, params.head)}
    fitted = {kind: fitting.fit_table(probe, table, calibration, params.settings, head) for kind, head in heads.items()}
    chosen = fitted[params.head.kind]
    evading = {name: Evading(one, chosen.alarm) for name, one in params.aware.items()}
    few = test.take(torch.arange(min(params.sample, len(test))))
    aware = attacks(probe.answering, evading, few, params.block, rng, params.aware_sample)
    cases |= tell(probe, "aware", aware)
    report = {
        "schema": 1,
        "preset": preset(),
        "models": {
            name: models.digest(root / at) for name, at in (("answers", params.answers), ("clean", params.clean))
        },
        "head": params.head.kind,
        "counts": {"fit": len(first), "calibration": len(rest), "test": len(test), "attacked": params.sample},
        "attacks": {
            name: dump(one) for name, one in {**params.train, **params.seen, **params.unseen, **params.aware}.items()
        },
        "heads": {kind: table_of(one, calibration, cases, params) for kind, one in fitted.items()},
        "baselines": detecting.of_baselines(names, cases, params.settings.seed),
        "cost": cost(chosen, test),
    }
    storage.save(chosen, root / "verify")
    words = spelling.vocabulary(captions_of(collected, "train"))  # what a denoiser spells by
    (root / "verify" / "words.txt").write_text("".join(f"{word}\n" for word in words))
    out = Path("reports") / preset() / "verify"
    out.mkdir(parents=True, exist_ok=True)
    (out / "detection.json").write_text(json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n")


def table_of(verifier: Verifier, calibration: Measured, cases: Mapping[str, Case], params: Params) -> dict[str, Any]:
    return detecting.of_head(verifier, calibration, cases, params.alphas, params.settings.seed)


def make_probe(params: Params, root: Path, collected: Path) -> Probe:
    """The two models with their banks, of training images, and the words of the training captions."""
    bank = examples.of(Pairs.read(collected, "train", params.bank))
    sources = (str(root / params.answers), str(root / params.clean))
    answering, clean = (Remembering(models.load(source), storage.MEMORY) for source in sources)
    vocabulary = Vocabulary.of(captions_of(collected, "train"))
    return Probe(
        answering,
        clean,
        banks=(reference(answering, bank.images, bank.texts), reference(clean, bank.images, bank.texts)),
        vocabulary=vocabulary,
        denoise=corrector(vocabulary, params.language),
        language=params.language,
        sources=sources,
    )


def attacks(
    model: DualEncoder,
    families: Mapping[str, Any],
    given: Examples,
    block: int,
    rng: Generator,
    first: int | None = None,
) -> dict[str, Examples]:
    """What each family makes of the first examples (null: all), ranked among the texts of all."""
    return {name: examples.attacked(model, attack, given, rng, block, first) for name, attack in families.items()}


def shifted(shifts: Shifts, given: Examples, seed: int) -> dict[str, Examples]:
    """The examples under each benign shift, `noise_4` being a deviation of 4/255."""
    noise = {f"noise_{255 * sigma:g}": examples.noisy(given, sigma, seed + k) for k, sigma in enumerate(shifts.noise)}
    jpeg = {f"jpeg_{quality}": examples.compressed(given, quality) for quality in shifts.jpeg}
    return noise | jpeg | {"human_typos": examples.mistyped(given, seed)}


def tried(probe: Probe, params: Params, test: Examples, rng: Generator) -> dict[str, Case]:
    """The test examples: clean, shifted, wrongly paired, and the first `sample` under each attack."""
    few = test.take(torch.arange(min(params.sample, len(test))))
    benign = shifted(params.shifts, test, params.settings.seed + 100)
    benign |= {"mismatched": examples.mismatched(test), "confusable": examples.confusable(probe.clean, test)}
    found = tell(probe, "clean", {"clean": test}) | tell(probe, "benign", benign)
    for group, families in (("train", params.train), ("seen", params.seen), ("unseen", params.unseen)):
        found |= tell(probe, group, attacks(probe.answering, families, few, params.block, rng))
    return found


def tell(probe: Probe, group: str, made: Mapping[str, Examples]) -> dict[str, Case]:
    """The examples with their features."""
    return {name: Case(group, one, fitting.measure(probe, one)) for name, one in made.items()}


def names_of(probe: Probe, given: Examples) -> tuple[str, ...]:
    """What the columns of the cheap features are called."""
    return probe.glance(given.pixels[:1].to(probe.answering.device), given.texts[:1]).names


def cost(verifier: Verifier, given: Examples) -> dict[str, float]:
    """Milliseconds and passes a pair as served, on the clean test pairs; and of the first look alone."""
    pixels, texts = given.pixels, list(given.texts)
    start = time.perf_counter()
    verdict = verifier.score(pixels, texts)
    served = time.perf_counter() - start
    never = replace(verifier, band=replace(verifier.band, low=torch.inf, high=torch.inf))
    start = time.perf_counter()
    never.score(pixels, texts)
    first = time.perf_counter() - start
    return {
        "ms": round(1000 * served / len(texts), 3),
        "ms_first": round(1000 * first / len(texts), 3),
        "passes": round(float(verdict.passes.float().mean()), 2),
        "passes_first": 2.0,
        "looked_twice": round(100 * float((verdict.passes > 2).float().mean()), 1),
    }


if __name__ == "__main__":
    keep_freed()
    main()
