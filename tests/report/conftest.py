"""A fabricated run on disk: two defenses, six attacks, twenty random images with two captions each."""

from __future__ import annotations

import hashlib
import io
import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml
from PIL import Image

from immunize import report
from immunize.evaluation.results import Flag, Result, Sweep, write

from . import watched

SHARE = {  # how many of ten queries stay right
    "finetune": {"clean": 9, "image": 1, "text": 2, "joint": 0, "square": 2, "hot_flip": 5},
    "mat": {"clean": 8, "image": 4, "text": 5, "joint": 3, "square": 6, "hot_flip": 1},
}
AUGMENTED = {
    "none": {"original": 100.0},
    "eda": {"original": 20.0, "alignment": 0.97512, "exact_alignment": 75.325, "text_gap": -0.00001},
}
NAMED = ("square", "hot_flip")  # on the first ten images alone
IMAGES = [f"image-{i:02d}" for i in range(20)]
CAPTIONS = [f"{i}#{c}" for i in IMAGES for c in range(2)]


def _ranks(n: int, share: int, salt: str) -> list[int]:
    rng = np.random.default_rng(list(salt.encode()))
    return [0 if i % 10 < share else int(rng.integers(1, 15)) for i in range(n)]


def _result(defense: str, attack: str) -> Result:
    share, images = SHARE[defense][attack], 10 if attack in NAMED else 20
    touched = {"image": attack in ("image", "joint", "square"), "text": attack in ("text", "joint", "hot_flip")}
    asked = 0 if attack == "clean" else images
    return Result(
        preset="toy", defense=defense, attack=attack, seed=7,
        config={} if attack == "clean" else {"kind": attack, "steps": 10, "threat": {"eps": 4 / 255}},
        data_hash="d" * 32, model_hash=hashlib.md5(defense.encode()).hexdigest(),
        image_ids=IMAGES[:images], caption_ids=CAPTIONS[: 2 * images],
        owner=[i for i in range(images) for _ in range(2)], image_rank=_ranks(images, share, defense + attack),
        caption_rank=_ranks(2 * images, share, attack + defense), similarity=[0.25] * 2 * images,
        linf=[4 / 255 * touched["image"]] * images, changed_words=[int(touched["text"])] * 2 * images,
        success=[i % 10 >= share for i in range(asked)], forwards=list(range(1, asked + 1)),
        backwards=[3000] * asked, texts=[0] * asked,
        counts={"untrue of the scene": 1234, "stop word": 56} if touched["text"] else {},
        flags=[Flag("deterministic", True, 0.0, 1e-6, "The same input gives the same output."),
               Flag("gradients", (defense, attack) != ("mat", "image"), 3e-9, 1e-6, "Gradients <reach> the input.")],
        seconds=1.5, device="cpu",
    )  # fmt: skip


def _png(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return buffer.getvalue()


def _table(path: Path, rows: list[dict[str, object]]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), path)


def _pictures(root: Path) -> None:
    rng = np.random.default_rng(0)
    clean = {i: rng.integers(20, 230, (32, 32, 3), dtype=np.uint8) for i in IMAGES}
    rows = [{"image_id": i, "split": "test", "image": _png(p)} for i, p in clean.items()]
    _table(root / "data/toy/collect/images/images-00000.parquet", rows[:12])
    _table(root / "data/toy/collect/images/images-00001.parquet", rows[12:])
    words = {"original": "a small <b>red</b> circle above the large blue square on a striped ground",
             "caption": "a small crimson circle above the large blue sqaure on a striped ground"}  # fmt: skip
    same = {"original": words["original"], "caption": words["original"]}
    owners = [{"caption_id": c, "image_id": c.split("#")[0]} for c in CAPTIONS]
    for defense in SHARE:
        for attack, count, step in (("joint", 20, 4), ("square", 10, 2), ("hot_flip", 10, 0)):
            kept = root / "reports/toy/adversarial" / defense / attack
            attacked = {i: (p + rng.choice([-step, step], p.shape)).astype(np.uint8) for i, p in clean.items()}
            rows = [{"image_id": i, "image": _png(p)} for i, p in attacked.items()]
            _table(kept / "images.parquet", rows[:count])
            edits = same if attack == "square" else words
            _table(kept / "captions.parquet", [owner | edits for owner in owners][: 2 * count])


def _training(root: Path) -> None:
    for number, name in enumerate(("pretrain", "immunize/finetune", "immunize/mat")):
        noise = np.random.default_rng(number).normal(0, 0.15, 120)
        log = [{"step": s, "loss": 3 / (1 + s / 20) + 0.4 * number + float(noise[s]), "lr": 1e-3} for s in range(120)]
        path = root / "models/toy" / name / "log.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(log))


@pytest.fixture(scope="session")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The root of a project in which everything but the report has run. Do not change it: copy it."""
    root = tmp_path_factory.mktemp("run")
    for defense, attacks in SHARE.items():
        for attack in attacks:
            write(_result(defense, attack), root / f"reports/toy/results/{defense}/{attack}.json")
        recall = [90.0, 60.0, 25.0, 4.0] if defense == "finetune" else [80.0, 66.0, 52.0, 33.0]
        sweep = Sweep("pgd", [0.0, 1 / 255, 2 / 255, 4 / 255], recall, [0.9 * r for r in recall])
        write(sweep, root / f"reports/toy/results/{defense}/sweep.json")
    _pictures(root)
    _training(root)
    unique = {"severity": "critical", "says": "no two captions share an id", "success": True}
    ascii_ = {"severity": "warning", "says": "most letters are ASCII", "success": False}
    validation = {
        "success": True,
        "statistics": {"images": {"train": 1200, "test": 20}, "rejected": {}, "vocabulary": 61},
        "expectations": {
            "caption_id_unique": unique | {"checked": 40, "unexpected": 0, "examples": []},
            "caption_ascii": ascii_ | {"checked": 40, "unexpected": 2, "examples": ["image-00#1: <i>é"]},
        },
    }
    path = root / "data/toy/validate/validation.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps(validation))
    for name, measures in AUGMENTED.items():
        path = root / "data/toy/augment" / name / "measures.json"
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(measures))
    watched.write(root / "reports/toy")
    (root / "presets").mkdir()
    sections = {
        "immunize": {"steps": 120, "lr": 0.0005},
        "collect": {"size": 32},
        "report": {"seed": 5, "samples": 200},
    }
    (root / "presets/toy.yaml").write_text(yaml.safe_dump(sections))
    return root


@pytest.fixture(scope="session")
def written(run: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same project after the report."""
    root = shutil.copytree(run, tmp_path_factory.mktemp("written") / "root")
    report.write("toy", root)
    return root
