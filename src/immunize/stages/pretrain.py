"""Stage `pretrain`: the weights that every defense starts from, loaded or trained."""

from __future__ import annotations

from pathlib import Path

from immunize.config import frozen, load, preset
from immunize.data.loader import Pairs
from immunize.defense import Method, Training, run
from immunize.models.initial import Initial


@frozen
class Params:
    """`initial`: where the first weights come from; `method`, `training`: how they are trained (0 steps: not at all)."""

    initial: Initial
    method: Method
    training: Training


def main() -> None:
    params = load("pretrain", Params)
    pairs = Pairs.read(Path("data") / preset() / "collect", "train")
    model = params.initial.make(pairs.captions, params.training.seed)
    run("pretrain", model, pairs, params.method, params.training, Path("models") / preset() / "pretrain")


if __name__ == "__main__":
    main()
