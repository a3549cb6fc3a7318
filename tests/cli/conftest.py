"""The command line on a model and pairs made on the fly."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import Result as Outcome
from PIL import Image
from typer.testing import CliRunner

from immunize import models
from immunize.cli import app
from immunize.data.collect import collect
from immunize.data.scenes import Scenes
from immunize.models import language
from immunize.models.initial import Small
from immunize.models.pixels import Normalization

Cli = Callable[..., Outcome]
Refusal = Callable[..., str]
Folder = Callable[..., Path]
SIZE = 32


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with `pairs` (six test scenes), `model`, and `language`."""
    root = tmp_path_factory.mktemp("world")
    scenes = Scenes(counts={"test": 6}, size=SIZE, captions=2)
    collect(scenes, root / "pairs", size=SIZE, max_characters=300, max_rejected=0.0)
    captions = [caption for record in scenes.records() for caption in map(str, record.captions)]
    vision = {"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": SIZE}
    initial = Small(
        vision=vision,
        text={"width": 32, "heads": 2, "layers": 1},
        normalization=Normalization(size=SIZE),
        embed_dim=16,
        trunk={"channels": [8, 8, 16, 16], "stem_width": 8},
    )
    models.save(initial.make(captions, 0), root / "model")
    with torch.random.fork_rng():
        language.fresh(captions, vocabulary=300, width=32, layers=1, length=32).save(root / "language")
    return root


@pytest.fixture
def cli(world: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cli:
    """cli("attack", ...): run in an empty folder that has `world` beside it; --model and --pairs are filled in."""
    monkeypatch.chdir(tmp_path)

    def run(command: str, *arguments: str) -> Outcome:
        given = {"--model": str(world / "model"), "--pairs": str(world / "pairs"), "--out": "out"}
        if command in ("attack", "evaluate"):
            arguments += tuple(word for name, value in given.items() if name not in arguments for word in (name, value))
        return CliRunner().invoke(app, [command, *arguments])

    return run


@pytest.fixture
def refusal(cli: Cli) -> Refusal:
    """refusal("attack", ...): the one line of it."""

    def line(*arguments: str) -> str:
        outcome = cli(*arguments)
        assert outcome.exit_code == 2, outcome.output
        (said,) = outcome.stderr.splitlines()
        assert said.startswith("immunize: ")
        return said

    return line


@pytest.fixture
def imagefolder() -> Folder:
    """imagefolder(folder, names): images of noise with a caption each."""

    def make(folder: Path, names: list[str]) -> Path:
        folder.mkdir(parents=True)
        noise = np.random.default_rng(0).integers(0, 256, (len(names), 6, 8, 3), dtype=np.uint8)
        for name, pixels in zip(names, noise):
            Image.fromarray(pixels).resize((48, 40)).save(folder / name)
        lines = [json.dumps({"file_name": name, "captions": [f"a red {name[0]} thing"]}) for name in names]
        (folder / "metadata.jsonl").write_text("\n".join(lines))
        return folder

    return make


@pytest.fixture
def labeled(imagefolder: Folder) -> Folder:
    """labeled(folder, labels): an imagefolder of the given labels and no caption."""

    def make(folder: Path, labels: list[object]) -> Path:
        imagefolder(folder, [f"{letter}.png" for letter in "abcdef"[: len(labels)]])
        lines = [{"file_name": f"{letter}.png", "label": label} for letter, label in zip("abcdef", labels)]
        lines = [{key: value for key, value in line.items() if value is not None} for line in lines]
        (folder / "metadata.jsonl").write_text("\n".join(map(json.dumps, lines)))
        return folder

    return make
