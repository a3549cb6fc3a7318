"""A verifier on disk: verifier.safetensors and verifier.json, nothing pickled; the two models stay where they are."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict
from math import inf, isinf
from pathlib import Path
from typing import Any

from safetensors.torch import load_file
from safetensors.torch import save as safe
from torch import Tensor

from immunize import models
from immunize.config import dump, parse
from immunize.models import DualEncoder, whole
from immunize.models.remembering import Remembering
from immunize.models.storage import WEIGHTS
from immunize.serving.views import Views
from immunize.verification.cascade import Band
from immunize.verification.conformal import Threshold
from immunize.verification.heads import Head
from immunize.verification.probe import Probe, corrector
from immunize.verification.reference import reference, tensors, whitening
from immunize.verification.verifier import Stage, Verifier
from immunize.verification.wording import Vocabulary

TENSORS, DESCRIPTION, SCHEMA = "verifier.safetensors", "verifier.json", 1
MEMORY = 20_000  # captions that are encoded once, for whoever asks about the same pairs again
STAGES = ("misaligned", "first", "second")
BRANCHES = ("answering", "clean")


def save(verifier: Verifier, folder: Path) -> None:
    """Write the verifier, both its files or none; equal verifiers give equal bytes. Raises NotWritten."""
    probe = verifier.probe
    numbers: dict[str, Tensor] = {}
    for name, bank in zip(BRANCHES, probe.banks):
        numbers |= tensors(bank, f"{name}.")
    stages = {name: getattr(verifier, name) for name in STAGES}
    for name, stage in stages.items():
        numbers |= tensors(stage.whitening, f"{name}.whitening.")
        numbers |= {f"{name}.weights.{key}": value.detach().cpu().contiguous() for key, value in stage.weights.items()}
    threshold = {name: None if isinf(value) else value for name, value in asdict(verifier.threshold).items()}
    description = {
        "schema": SCHEMA,
        "models": {name: {"at": at, "sha256": _digest(at)} for name, at in zip(BRANCHES, probe.sources)},
        "head": dump(verifier.head),
        "views": dump(probe.views),
        "seed": probe.seed,
        "denoise": probe.denoise is not None,
        "language": probe.language,
        "stages": {name: {"center": stage.center, "spread": stage.spread} for name, stage in stages.items()},
        "band": asdict(verifier.band),
        "threshold": threshold,
        "vocabulary": dict(probe.vocabulary.counts),
    }
    text = json.dumps(description, indent=1, sort_keys=True, ensure_ascii=True) + "\n"
    whole.write(folder, {TENSORS: safe(numbers), DESCRIPTION: text.encode()})


def load(folder: Path | str, answering: DualEncoder | None = None, clean: DualEncoder | None = None) -> Verifier:
    """The verifier that `save` wrote, around its two models; those not given are loaded from where they were.

    Raises FileNotFoundError where there is none, and ValueError where it is of another schema, where a model must be given,
    or where the weights at its place are no longer those that it was fitted on.
    """
    path = Path(folder) / DESCRIPTION
    if not path.exists():
        raise FileNotFoundError(f"{path} does not exist: is the stage that makes this verifier done (`dvc repro`)?")
    said = json.loads(path.read_text())
    if said.get("schema") != SCHEMA:
        raise ValueError(f"{path} has schema {said.get('schema')!r}, this version reads {SCHEMA}; fit it anew")
    answering = Remembering(answering or _model(said["models"], "answering", path), MEMORY)
    clean = Remembering(clean or _model(said["models"], "clean", path), MEMORY)
    device = answering.device
    numbers = {name: value.to(device) for name, value in load_file(path.with_name(TENSORS)).items()}
    vocabulary = Vocabulary(said["vocabulary"])
    probe = Probe(
        answering,
        clean,
        banks=(reference(numbers, "answering."), reference(numbers, "clean.")),
        vocabulary=vocabulary,
        views=parse(said["views"], Views, f"{path}: views"),
        denoise=corrector(vocabulary, said["language"]) if said["denoise"] else None,
        language=said["language"],
        seed=said["seed"],
        sources=tuple(one["at"] for one in said["models"].values()) if said["models"] else (),
    )
    threshold = {name: inf if value is None else value for name, value in said["threshold"].items()}
    return Verifier(
        probe=probe,
        head=parse(said["head"], Head, f"{path}: head"),
        band=Band(**said["band"]),
        threshold=Threshold(**threshold),
        **{name: _stage(numbers, name, said["stages"][name]) for name in STAGES},
    )


def _stage(numbers: Mapping[str, Tensor], name: str, said: Mapping[str, float]) -> Stage:
    prefix = f"{name}.weights."
    weights = {key.removeprefix(prefix): value for key, value in numbers.items() if key.startswith(prefix)}
    return Stage(whitening(numbers, f"{name}.whitening."), weights, said["center"], said["spread"])


def _digest(at: str) -> str | None:
    """Of the weights of a model that was saved here; a published one has only its name."""
    return models.digest(Path(at)) if (Path(at) / WEIGHTS).exists() else None


def _model(said: Mapping[str, Any], name: str, path: Path) -> DualEncoder:
    if name not in said:
        raise ValueError(f"{path} names no {name} model: give `load` the one that the verifier was fitted on")
    at, digest = said[name]["at"], said[name]["sha256"]
    if digest is not None and _digest(at) != digest:
        raise ValueError(f"{path}: the weights in {at} are not those that the verifier was fitted on; fit it anew")
    return models.load(at)
