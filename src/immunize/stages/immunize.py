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
from immunize.defense.team import joined

MAPPED = Path(".cache/pixels")


@frozen
class Recipe:
    """One defense: what it minimizes, for how long, and on which pairs: `collect`, or `augment/<name>`.

    mapped: pixels stay on disk (`data.pixels`), for a training set that does not fit in memory; the result is the same.
    """

    method: Method
    training: Training
    pairs: Annotated[str, Field(pattern=r"^(collect|augment/\w+)$")] = "collect"
    mapped: bool = False


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
        run(defense, model, pairs, recipe.method, recipe.training, folder / "immunize" / defense, language)


if __name__ == "__main__":
    main(sys.argv[1])
