"""A model under attack on some pairs: the records, and the table that a person reads."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import typer

from immunize import models
from immunize.attacks import Attack
from immunize.cli.inputs import read_pairs
from immunize.data.loader import Pairs
from immunize.defense.checkpoint import fingerprint
from immunize.evaluation.checks import distrust
from immunize.evaluation.results import Result
from immunize.evaluation.suite import Attacked, Subject, evaluate, result
from immunize.models.remembering import Remembering
from immunize.report import Metrics, Settings, summarize

PROBE = 16  # images that the costly sanity checks look at


@dataclass(frozen=True, slots=True)
class Target:
    """A model and the pairs it is attacked on."""

    model: models.Clip
    pairs: Pairs
    subject: Subject

    @classmethod
    def open(cls, name: str, source: Path, split: str, limit: int | None, out: Path) -> Target:
        """The model `name` and the pairs in `source`; makes `out`."""
        model = models.load(name)
        out.mkdir(parents=True, exist_ok=True)
        pairs = read_pairs(source, split, limit, out, model.resolution)
        digest = models.digest(Path(name)) if Path(name).is_dir() else fingerprint(model)
        return cls(model, pairs, Subject(preset=str(source), defense=name, model_hash=digest))

    def under(self, attacks: Mapping[str, Attack | None], seed: int) -> Iterator[tuple[Attacked, Result]]:
        """The attacked pairs and the record of each attack, with the reasons to distrust it."""
        model = Remembering(self.model)
        for attacked in evaluate(model, attacks, self.pairs, seed=seed):
            flags = distrust(model, attacked, images=PROBE, seed=seed)
            yield attacked, result(model, attacked, self.subject, seed, flags)


def write_metrics(found: list[Result], path: Path) -> None:
    """{"<model>": {"<attack>": {"tr_r1": ..., ...}}}, as the pipeline's metrics.json."""
    path.write_text(json.dumps(_metrics(found), indent=2, sort_keys=True) + "\n")


def show(found: list[Result], written: Path) -> None:
    """R@1 in percent with 95 % intervals for each attack; then what speaks against the numbers, and where all is."""
    (metrics,) = _metrics(found).values()
    typer.echo("| attack | image → text R@1 | text → image R@1 | seconds |\n|---|--:|--:|--:|")
    for one in found:
        recalls = " | ".join(_recall(metrics[one.attack], way) for way in ("tr", "ir"))
        typer.echo(f"| {one.attack} | {recalls} | {one.seconds:.1f} |")
    typer.echo(f"\n{len(found[0].image_ids)} images, {len(found[0].caption_ids)} captions, on {found[0].device}")
    for one in found:
        for flag in one.flags:
            if not flag.ok:
                typer.echo(f"distrust {one.attack}: {flag.name} fails at {flag.value:.3g}; wanted: {flag.meaning}")
    typer.echo(written)


def _metrics(found: list[Result]) -> Metrics:
    return summarize({found[0].defense: {one.attack: one for one in found}}, Settings())


def _recall(cell: Mapping[str, float], way: str) -> str:
    return f"{cell[f'{way}_r1']:.1f} ({cell[f'{way}_r1_low']:.1f} to {cell[f'{way}_r1_high']:.1f})"
