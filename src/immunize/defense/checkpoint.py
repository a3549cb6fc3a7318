"""A training run's state on disk, so that a killed run goes on bit for bit; written whole or not at all.

state.pt is the latest state and state.previous.pt the one before: torch's format, then 32 bytes of sha256 over it. Whatever
happens to the latest, the other one gives the same end, a few steps later.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
import shutil
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from immunize.defense.averaging import Running
from immunize.models import whole

STATE, PREVIOUS = "state.pt", "state.previous.pt"
DIGEST = hashlib.sha256().digest_size


class Unreadable(RuntimeError):
    """No good state is left of a run that had one; the message names the files and what to do."""


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
    """The state after `step` steps and its sha256, on the disk before it gets its name; the former one stays beside it.

    Raises NotWritten, and then both former states stand as they were.
    """
    state = {"step": step, "model": model.state_dict(), "optimizer": optimizer.state_dict(), "records": records}
    if running is not None:
        state["running"] = running.state
    buffer = io.BytesIO()  # torch's own writer ends the process where the disk is full
    torch.save(state, buffer)
    buffer.write(hashlib.sha256(buffer.getbuffer()).digest())
    partial = folder / f"{STATE}.partial"
    with whole.told(folder, partial):
        folder.mkdir(parents=True, exist_ok=True)
        whole.put(partial, buffer.getbuffer())
        if (folder / STATE).exists():
            os.replace(folder / STATE, folder / PREVIOUS)
        os.replace(partial, folder / STATE)
        whole.sync(folder)


def resume(
    folder: Path, model: nn.Module, optimizer: Optimizer, running: Running | None = None
) -> tuple[int, list[dict[str, int | float]]]:
    """Put the newest good state back and return (steps done, records); (0, []) where there has been none.

    A corrupt state is told on stderr and the one before it takes its place: the run goes on to the same bytes. Raises
    Unreadable where states were kept and none is good, or where a good one does not fit: days of training are not to be
    thrown away without a word.
    """
    kept = [folder / name for name in (STATE, PREVIOUS) if (folder / name).exists()]
    found = next(((path, state) for path in kept if (state := _read(path))), None)
    if not kept:
        return 0, []
    if found is None:
        raise Unreadable(
            f"{' and '.join(map(str, kept))}: the sha256 at the end is not that of the content, so no good state of this "
            f"run is left; bring one back from a copy, or delete {folder} to train from the first step"
        )
    path, state = found
    if path != kept[0]:
        print(f"{kept[0]} is corrupt; training goes on from step {state['step']} of {path.name}", file=sys.stderr)
        os.replace(path, kept[0])  # or the next save would put the corrupt one in its place
    try:
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        if running is not None:
            running.state = {name: value.to(running.state[name].device) for name, value in state["running"].items()}
    except (KeyError, RuntimeError, ValueError) as error:
        why = " ".join(str(error).split())
        raise Unreadable(
            f"{path} was written by other code and does not fit this run ({why}); go back to that code, or delete "
            f"{folder} to train from the first step"
        ) from error
    return state["step"], state["records"]


def forget(folder: Path) -> None:
    """The run is complete and its weights are elsewhere."""
    shutil.rmtree(folder, ignore_errors=True)


def _read(path: Path) -> dict[str, Any] | None:
    """The state in a file; None where a byte of it is not the one that was written."""
    content = memoryview(path.read_bytes())
    if hashlib.sha256(content[:-DIGEST]).digest() != content[-DIGEST:]:
        return None
    return dict(torch.load(io.BytesIO(content[:-DIGEST]), weights_only=True, map_location="cpu"))
