"""Stage `evaluate`: one model under every attack: `python -m immunize.stages.evaluate mat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from immunize import models
from immunize.attacks import Attack
from immunize.config import frozen, load, preset
from immunize.data.loader import Pairs
from immunize.evaluation import adversarial, results
from immunize.evaluation.checks import distrust
from immunize.evaluation.suite import Subject, evaluate, result
from immunize.evaluation.sweep import Curve, sweep
from immunize.models.remembering import Remembering


@frozen
class Params:
    """`attacks`: name -> attack, null for clean data; `block`: images at a time.

    `sample`: images that are attacked, the first of the split (null: all); the gallery is always the whole split.
    `split`: choose settings on `validation`, report `test`. `probe`: images that the costly sanity checks look at.
    `kept`: adversarial images that are written to disk.
    """

    attacks: dict[str, Attack | None]
    sweep: Curve
    split: Literal["validation", "test"] = "test"
    sample: Annotated[int, Field(ge=1)] | None = None
    block: int = 100
    probe: int = 64
    kept: int = 500
    seed: int = 0


def main(defense: str) -> None:
    params = load("evaluate", Params)
    folder = Path("models") / preset() / ("pretrain" if defense == "pretrain" else f"immunize/{defense}")
    reports = Path("reports") / preset()
    pairs = Pairs.read(Path("data") / preset() / "collect", params.split)
    model = Remembering(models.load(folder))
    subject = Subject(preset=preset(), defense=defense, model_hash=models.digest(folder))
    for attacked in evaluate(model, params.attacks, pairs, seed=params.seed, block=params.block, sample=params.sample):
        flags = distrust(model, attacked, images=params.probe, seed=params.seed)
        found = result(model, attacked, subject, params.seed, flags)
        results.write(found, reports / "results" / defense / f"{attacked.name}.json")
        adversarial.keep(attacked, reports / "adversarial" / defense / attacked.name, params.kept)
    curve = sweep(model, params.sweep, pairs, seed=params.seed, block=params.block)
    results.write(curve, reports / "results" / defense / "sweep.json")


if __name__ == "__main__":
    main(sys.argv[1])
