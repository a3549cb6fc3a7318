"""Stage `pretrain`: the weights that every defense starts from, loaded or trained."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from pydantic import Field

from immunize.config import frozen, load, preset
from immunize.data.augmentation import sparse
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, run
from immunize.defense.team import joined
from immunize.models.initial import Initial
from immunize.models.memory import keep_freed


@frozen
class Params:
    """`initial`: where the first weights come from; `method`, `training`: how they are trained (0 steps: not at all).

    `captions`: of each image the first so many (null: all), for a study of sparse pairs.
    """

    initial: Initial
    method: Method
    training: Training
    captions: Annotated[int, Field(ge=1)] | None = None


def main() -> None:
    params = load("pretrain", Params)
    pairs, _ = sparse(Pairs.read(Path("data") / preset() / "collect", "train"), params.captions)
    with joined():  # before the model is made: each process has its own device
        model = params.initial.make(pairs.captions, params.training.seed)
        run("pretrain", model, pairs, params.method, params.training, Path("models") / preset() / "pretrain")


if __name__ == "__main__":
    keep_freed()
    main()
