"""Stage `immunize`: one defense, from the pretrained weights: `python -m immunize.stages.immunize mat`."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

from pydantic import Field

from immunize import models
from immunize.config import ConfigurationError, frozen, load, preset
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, run
from immunize.defense.checkpoint import contents
from immunize.defense.steered import Steered, Steering
from immunize.defense.team import joined
from immunize.models.memory import keep_freed

MAPPED = Path(".cache/pixels")


@frozen
class Recipe:
    """One defense: what it minimizes, for how long, and on which pairs: `collect`, or `augment/<name>`.

    mapped: pixels stay on disk (`data.pixels`), for a training set that does not fit in memory; the result is the same.
    curriculum: the method's inner attack, and lambda, chosen anew every so many steps by what helps on validation pairs.
    """

    method: Method
    training: Training
    pairs: Annotated[str, Field(pattern=r"^(collect|augment/\w+)$")] = "collect"
    mapped: bool = False
    curriculum: Steering | None = None

    def __post_init__(self) -> None:
        if self.curriculum is not None and self.curriculum.every % self.training.log:
            raise ValueError(
                f"curriculum.every: must be a multiple of training.log ({self.training.log}), whose records hold the choices"
            )


Params = dict[str, Recipe]


def main(defense: str) -> None:
    recipes = load("immunize", Params)
    if defense not in recipes:
        raise ConfigurationError(f"presets/{preset()}.yaml: immunize: no '{defense}'; there are {sorted(recipes)}")
    folder = Path("models") / preset()
    recipe, language = recipes[defense], contents(folder / "language")
    with joined() as team:  # before the model is loaded: each process has its own device
        with team.leader_first():
            pairs = Pairs.read(Path("data") / preset() / recipe.pairs, "train", cache=MAPPED if recipe.mapped else None)
        model = models.load(folder / "pretrain")
        method = recipe.method if recipe.curriculum is None else steered(recipe, recipe.curriculum)
        run(defense, model, pairs, method, recipe.training, folder / "immunize" / defense, language)


def steered(recipe: Recipe, curriculum: Steering) -> Steered:
    """The recipe's method on its curriculum, judged on validation pairs."""
    held_out = Pairs.read(Path("data") / preset() / "collect", "validation", curriculum.images)
    return Steered(curriculum, recipe.method, held_out, recipe.training.seed)


if __name__ == "__main__":
    keep_freed()
    main(sys.argv[1])
