"""Stage `evaluate`: one model under every attack: `python -m immunize.stages.evaluate mat`.

With IMMUNIZE_RAY=4 the attacks are made by four processes (`evaluation.shards`), and the same files come out.
"""

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
from immunize.evaluation.comparing import compared
from immunize.evaluation.recording import Subject, result
from immunize.evaluation.results import Result
from immunize.evaluation.shards import Source, fanned
from immunize.evaluation.suite import evaluate, real
from immunize.evaluation.sweep import Curve, sweep
from immunize.models.memory import keep_freed
from immunize.models.remembering import Remembering

Count = Annotated[int, Field(ge=1)]
APART = {"pretrain": "pretrain", "adapted": "adapt"}  # models that are no recipe of `immunize`


@frozen
class Named:
    """Further attacks, each on the first `sample` images only: their intervals are as wide as that makes them."""

    attacks: dict[str, Attack]
    sample: Count


@frozen
class Params:
    """`attacks`: name -> attack, null for clean data; `named`: further ones; `block`: images at a time.

    `sample`: images that are attacked, the first of the split (null: all); the gallery is always the whole split.
    `split`: choose settings on `validation`, report `test`. `probe`: images that the costly sanity checks look at, under
    `attacks` alone. `kept`: adversarial images that are written to disk.
    """

    attacks: dict[str, Attack | None]
    sweep: Curve
    named: Named | None = None
    split: Literal["validation", "test"] = "test"
    sample: Count | None = None
    block: Count = 100
    probe: int = 64
    kept: int = 500
    seed: int = 0

    def __post_init__(self) -> None:
        further = set() if self.named is None else set(self.named.attacks)
        if taken := sorted(further & set(self.attacks) | {results.WORST} & (further | set(self.attacks))):
            raise ValueError(f"named: {', '.join(taken)} is a name that is taken")


def main(defense: str) -> None:
    params = load("evaluate", Params)
    folder = Path("models") / preset() / APART.get(defense, f"immunize/{defense}")
    reports = Path("reports") / preset()
    collected = Path("data") / preset() / "collect"
    pairs = Pairs.read(collected, params.split)
    model = Remembering(models.load(folder))
    subject = Subject(preset=preset(), defense=defense, model_hash=models.digest(folder), device=str(model.device))
    rounds = [(params.attacks, params.sample, params.probe)]
    if params.named is not None:
        rounds.append(({**params.named.attacks}, params.named.sample, 0))
    source = Source(Path.cwd(), folder, collected, params.split)
    jobs = [(real(attacks), min(sample or len(pairs), len(pairs))) for attacks, sample, _ in rounds]
    same, found = {"seed": params.seed, "block": params.block}, list[Result]()
    with fanned(source, jobs, **same, cuda=model.device.type == "cuda") as find:
        for attacks, sample, probe in rounds:
            for attacked in evaluate(model, attacks, pairs, **same, sample=sample, find=find):
                flags = distrust(model, attacked, images=probe, seed=params.seed)
                found.append(result(attacked, subject, params.seed, flags))
                adversarial.keep(attacked, reports / "adversarial" / defense / attacked.name, params.kept)
    for one in compared(found):
        results.write(one, reports / "results" / defense / f"{one.attack}.json")
    curve = sweep(model, params.sweep, pairs, **same)
    results.write(curve, reports / "results" / defense / "sweep.json")


if __name__ == "__main__":
    keep_freed()
    main(sys.argv[1])
