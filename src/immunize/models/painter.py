"""Pictures of captions by a published text-to-image model; `diffusers` is not among the project's packages."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import UInt8
from torch import Generator, Tensor

from immunize.config import ConfigurationError
from immunize.models.device import best
from immunize.rng import keys

BLOCK = 8


def paint(folder: str, captions: Sequence[str], side: int, seed: int) -> UInt8[Tensor, "n 3 s s"]:
    """One square picture of each caption, each from a noise of its own, by the pipeline in a local folder.

    Nothing is downloaded. Raises ConfigurationError where the package `diffusers` or the weights are missing, saying what
    to install.
    """
    pipeline = _pipeline(folder)
    seeds = keys([f"{seed} {place} {caption}" for place, caption in enumerate(captions)]).tolist()
    parts = [torch.empty(0, 3, side, side, dtype=torch.uint8)]
    for start in range(0, len(captions), BLOCK):
        noise = [Generator().manual_seed(one) for one in seeds[start : start + BLOCK]]
        images = pipeline(list(captions[start : start + BLOCK]), generator=noise, output_type="pt").images
        resized = torch.nn.functional.interpolate(images.float(), (side, side), mode="area")
        parts.append((resized.clamp(0, 1) * 255).round().to(torch.uint8).cpu())
    return torch.cat(parts)


def _pipeline(folder: str) -> Any:
    try:
        diffusers = importlib.import_module("diffusers")
    except ImportError:
        raise ConfigurationError(
            "augment: kind render: `weights` needs the package diffusers: `pip install diffusers`. "
            "Without it: kind randaugment or crops, and render without `weights` for scenes"
        ) from None
    if not (Path(folder) / "model_index.json").exists():
        raise ConfigurationError(
            f"{folder} holds no text-to-image pipeline (no model_index.json). Put one there, for example by "
            f"`hf download stabilityai/sd-turbo --local-dir {folder}`"
        )
    return diffusers.AutoPipelineForText2Image.from_pretrained(folder, local_files_only=True).to(best())
