"""A training run's state on disk, so that a killed run goes on bit for bit; written whole or not at all."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from immunize.defense.averaging import Running

STATE = "state.pt"


def place(scratch: Path, *parts: Any) -> Path:
    """The folder of the run that is determined by `parts` (settings, data, initial weights): same run, same folder."""
    return scratch / hashlib.sha256(json.dumps(parts, sort_keys=True, default=str).encode()).hexdigest()[:16]


def fingerprint(model: nn.Module) -> str:
    """sha256 of the weights, which with the settings and the data determines a run."""
    digest = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        digest.update(name.encode())
        digest.update(value.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()


def contents(folder: Path) -> str:
    """sha256 of every file below a folder: what a run reads besides its data and its first weights."""
    digest = hashlib.sha256()
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def save(
    folder: Path,
    step: int,
    model: nn.Module,
    optimizer: Optimizer,
    records: list[dict[str, int | float]],
    running: Running | None = None,
) -> None:
    """The state after `step` steps; the former one stays until this one is complete."""
    folder.mkdir(parents=True, exist_ok=True)
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "records": records}
    if running is not None:
        state["running"] = running.state
    torch.save(state, folder / f"{STATE}.partial")
    os.replace(folder / f"{STATE}.partial", folder / STATE)


def resume(
    folder: Path, model: nn.Module, optimizer: Optimizer, running: Running | None = None
) -> tuple[int, list[dict[str, int | float]]]:
    """Put the saved state back and return (steps done, records); (0, []) where there is none or it cannot be read."""
    path = folder / STATE
    if not path.exists():
        return 0, []
    try:
        state = torch.load(path, weights_only=True, map_location="cpu")
    except Exception as error:  # what a broken file raises depends on where it is broken
        print(f"{path} cannot be read ({error}); training starts again from the first step")
        return 0, []
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    if running is not None:
        running.state = {name: value.to(running.state[name].device) for name, value in state["running"].items()}
    return state["step"], state["records"]


def forget(folder: Path) -> None:
    """The run is complete and its weights are elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)
