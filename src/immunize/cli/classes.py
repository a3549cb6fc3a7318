"""Zero-shot classification under attack, for a person at a terminal."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import typer

from immunize.attacks import Attack
from immunize.cli.attacking import Target
from immunize.cli.labels import read_labels
from immunize.cli.targets import Aimed
from immunize.evaluation import adversarial
from immunize.evaluation.classification import Classes, Classification, classified, record
from immunize.evaluation.results import write
from immunize.report import contact_sheet


def attack_classes(target: Target, attack: Attack, prompts: tuple[str, ...], out: Path, seed: int) -> None:
    """Writes images.parquet, record.json and contact_sheet.png; prints the accuracies, and where the labels are from."""
    labels = read_labels(target.folder, target.split, target.pairs, prompts)
    classes = Classes.of(target.model, target.pairs.images, prompts, labels)
    if isinstance(target.pairs, Aimed):
        classes = replace(classes, targets=target.pairs.targets)
    found = classified(target.model, attack, target.pairs, classes, seed)
    said = record(target.model, attack, target.pairs, classes, found, seed=seed, model_hash=target.subject.model_hash)
    adversarial.keep_images(target.pairs.image_ids, found.images, out)
    write(said, out / "record.json")
    contact_sheet.write(contact_sheet.of_classes(target.pairs, found.images, said), out / "contact_sheet.png")
    _show(said, out / "contact_sheet.png")


def _show(said: Classification, written: Path) -> None:
    typer.echo("| attack | clean accuracy | accuracy under attack | seconds |\n|---|--:|--:|--:|")
    typer.echo(f"| {said.attack} | {said.accuracy_clean:.1f} | {said.accuracy_robust:.1f} | {said.seconds:.1f} |")
    typer.echo(f"\n{len(said.image_ids)} images, {len(said.classes)} classes, on {said.device}")
    if said.truth == "clean prediction":
        typer.echo("No image has a label: the model's answer on the clean image was taken for the truth.")
    typer.echo(written)
