"""What dvc.lock says was reproduced: the one record of a run, a model and what made it."""

from __future__ import annotations

import hashlib
import json
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml


class PublicationError(RuntimeError):
    """The checkout or the registry is not what dvc.lock says; the message names what and what to do."""


@dataclass(frozen=True, slots=True)
class Made:
    """A trained model: its folder below the checkout, the md5 of what is in it, and the entry of dvc.lock that made it."""

    folder: Path
    md5: str
    stage: str
    entry: dict[str, Any]

    def lineage(self) -> dict[str, str]:
        """Tags: the stage and its key, its recipe (attack settings included) as JSON, the md5 of data and models it read.

        The key is the sha256 of command, params and content hashes, code among them: what makes the model again.
        """
        read = {
            dep["path"]: dep["md5"]
            for dep in self.entry.get("deps", [])
            if dep["path"].startswith(("data/", "models/"))
        }
        return {
            "dvc.md5": self.md5,
            "dvc.stage": self.stage,
            "dvc.stage_key": lock_key({self.stage: self.entry}),
            "recipe": json.dumps(self.entry.get("params", {}), sort_keys=True),
            **{f"dvc.dep/{path}": md5 for path, md5 in read.items()},
        }


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of dvc.lock; raises PublicationError where an output that git tracks is not the one it names."""
    if not (root / "dvc.lock").exists():
        raise PublicationError(f"{root / 'dvc.lock'} does not exist; run `dvc repro` first")
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    for out in (out for stage in stages.values() for out in stage.get("outs", [])):
        path = root / out["path"]
        if path.suffix == ".json" and path.is_file() and _md5(path) != out["md5"]:
            raise PublicationError(f"{path} is not the file that dvc.lock names; run `dvc repro` first")
    return dict(stages)


def lock_key(stages: dict[str, Any]) -> str:
    """sha256 of every stage's command, params and content hashes: the same key for the same content anywhere."""
    content = {
        stage: [
            entry.get("cmd"),
            entry.get("params"),
            *([(file["path"], file["md5"]) for file in entry.get(kind, [])] for kind in ("deps", "outs")),
        ]
        for stage, entry in sorted(stages.items())
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def trained(stages: dict[str, Any], preset: str) -> list[Made]:
    """The models that the preset trained: what every defense starts from, and each defense."""
    base = Path("models") / preset
    return [
        Made(Path(out["path"]), out["md5"], name, entry)
        for name, entry in stages.items()
        for out in entry.get("outs", [])
        if Path(out["path"]) == base / "pretrain" or Path(out["path"]).parent == base / "immunize"
    ]


def commit(root: Path) -> str:
    """The git revision of the checkout, or `none`."""
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() or "none"


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
