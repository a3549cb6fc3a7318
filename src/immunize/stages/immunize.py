"""Stage `immunize`: one defense, from the pretrained weights: `python -m immunize.stages.immunize mat`."""

from __future__ import annotations

import sys
from pathlib import Path

from immunize import models
from immunize.config import ConfigurationError, frozen, load, preset
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, run
from immunize.defense.checkpoint import contents


@frozen
class Recipe:
    """One defense: what it minimizes, and for how long."""

    method: Method
    training: Training


Params = dict[str, Recipe]


def main(defense: str) -> None:
    recipes = load("immunize", Params)
    if defense not in recipes:
        raise ConfigurationError(f"presets/{preset()}.yaml: immunize: no '{defense}'; there are {sorted(recipes)}")
    folder = Path("models") / preset()
    pairs = Pairs.read(Path("data") / preset() / "collect", "train")
    model = models.load(folder / "pretrain")
    recipe, language = recipes[defense], contents(folder / "language")
    run(defense, model, pairs, recipe.method, recipe.training, folder / "immunize" / defense, language)


if __name__ == "__main__":
    main(sys.argv[1])
