"""The stage on a tiny model: what it writes for the main attacks and for the named ones, and names that are taken."""

from __future__ import annotations

import os
import re
import shutil
import signal
from pathlib import Path

import pyarrow.parquet as pq
import pytest
import yaml

from immunize import models
from immunize.config import ConfigurationError, parse
from immunize.evaluation import shards
from immunize.evaluation.blocks import Found
from immunize.evaluation.results import read_all, read_sweep
from immunize.evaluation.shards import Shard
from immunize.models import Clip
from immunize.stages.evaluate import Params, main

BALL = {"norm": "linf", "eps": "8/255"}
PGD = {"kind": "pgd", "threat": BALL, "steps": 2}
SECTION = {
    "attacks": {"clean": None, "image": PGD},
    "sample": 12,
    "block": 6,
    "named": {"sample": 5, "attacks": {"square": {"kind": "square", "threat": BALL, "queries": 4}}},
    "sweep": {"attack": PGD, "eps": [0, "8/255"], "images": 6},
    "probe": 3,
    "kept": 4,
}


@pytest.fixture
def project(world: Path, trained: Clip, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that the stage runs in, without its results."""
    monkeypatch.chdir(tmp_path)
    Path("params.yaml").write_text("preset: tiny\n")
    for folder in ("presets", "data/tiny", "models/tiny"):
        Path(folder).mkdir(parents=True)
    Path("presets/tiny.yaml").write_text(yaml.safe_dump({"evaluate": SECTION}))
    Path("data/tiny/collect").symlink_to(world)
    models.save(trained, Path("models/tiny/pretrain"))
    return tmp_path


def test_named_attacks_have_a_sample_of_their_own(project: Path) -> None:
    main("pretrain")
    by_attack = read_all(Path("reports/tiny/results"))["pretrain"]
    assert {name: len(found.image_ids) for name, found in by_attack.items()} == {"clean": 24, "image": 12, "square": 5}
    names = {name: {flag.name for flag in found.flags} for name, found in by_attack.items()}
    assert "beats_noise" in names["image"] and "outputs_fixed" in names["clean"]
    assert names["square"] == {
        "not_above_clean", "inside_ball", "inside_edits", "captions_still_true", "claims_hold",
        "no_stronger_than_gradients",
    }  # fmt: skip
    for name, kept in (("image", 4), ("square", 4)):
        path = Path("reports/tiny/adversarial/pretrain", name, "images.parquet")
        assert len(pq.read_table(path)) == kept
    assert read_sweep(Path("reports/tiny/results/pretrain/sweep.json")).eps == [0.0, 8 / 255]


def written(project: Path) -> dict[str, bytes]:
    """What the stage wrote, file by file, but for the seconds."""
    files = [path for path in (project / "reports").rglob("*") if path.is_file()]
    return {str(path): re.sub(rb'"seconds": [0-9.]+', b"", path.read_bytes()) for path in files}


@pytest.mark.slow
def test_workers_write_the_same_files_though_one_is_killed(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One worker, killed at its second block: the block is tried again, and no byte but of the seconds is another."""
    main("pretrain")
    alone, killed = written(project), project / "killed"
    shutil.rmtree(project / "reports")

    def dying(shard: Shard) -> list[tuple[str, Found]]:
        from immunize.evaluation.shards import work  # the worker's own: this process's is wrapped by the type checker

        if shard.start == 6 and not killed.exists():
            killed.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return work(shard)

    monkeypatch.setattr(shards, "work", dying)
    monkeypatch.setenv("IMMUNIZE_RAY", "1")
    main("pretrain")
    assert killed.exists() and written(project) == alone and len(alone) == 10


@pytest.mark.parametrize(("attacks", "named"), [("image", "image"), ("worst", "square"), ("image", "worst")])
def test_a_name_that_is_taken_is_refused(attacks: str, named: str) -> None:
    section = SECTION | {"attacks": {attacks: PGD}, "named": {"sample": 1, "attacks": {named: PGD}}}
    with pytest.raises(ConfigurationError, match="is a name that is taken"):
        parse(section, Params, "here")
