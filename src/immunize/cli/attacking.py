"""A model under attack on some pairs: the records, and the table that a person reads."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import typer

from immunize import models
from immunize.attacks import Attack
from immunize.cli.inputs import collected
from immunize.cli.targets import Aimed
from immunize.data.loader import Pairs
from immunize.defense.checkpoint import fingerprint
from immunize.evaluation import adversarial, results
from immunize.evaluation.checks import distrust
from immunize.evaluation.comparing import compared
from immunize.evaluation.recording import Subject, result
from immunize.evaluation.results import WORST, Result
from immunize.evaluation.suite import Attacked, evaluate
from immunize.models.remembering import Remembering
from immunize.report import Metrics, Settings, contact_sheet, summarize

PROBE = 16  # images that the costly sanity checks look at


@dataclass(frozen=True, slots=True)
class Target:
    """A model and the pairs it is attacked on, which are those of `split` in `folder`."""

    model: models.Clip
    pairs: Pairs
    subject: Subject
    folder: Path
    split: str

    @classmethod
    def open(cls, name: str, source: Path, split: str, limit: int | None, out: Path, labeled: bool = False) -> Target:
        """The model `name` and the pairs in `source`; makes `out`. `labeled`: images without captions will do."""
        model = models.load(name)
        out.mkdir(parents=True, exist_ok=True)
        folder, split = collected(source, split, limit, out, model.resolution, labeled)
        pairs = Pairs.read(folder, split, limit)
        digest = models.digest(Path(name)) if Path(name).is_dir() else fingerprint(model)
        subject = Subject(preset=str(source), defense=name, model_hash=digest, device=str(model.device))
        return cls(model, pairs, subject, folder, split)

    def towards(self, targets: tuple[str, ...]) -> Target:
        """The same for a targeted attack."""
        return replace(self, pairs=Aimed.of(self.pairs, targets))

    def under(self, attacks: Mapping[str, Attack | None], seed: int) -> tuple[Attacked, list[Result]]:
        """The record of each attack, with the reasons to distrust it; and the pairs as the last one left them."""
        model, found = Remembering(self.model), []
        for attacked in evaluate(model, attacks, self.pairs, seed=seed):
            flags = distrust(model, attacked, images=PROBE, seed=seed)
            found.append(result(attacked, self.subject, seed, flags))
        return attacked, compared(found)


def attack_pairs(target: Target, name: str, attack: Attack, out: Path, seed: int) -> None:
    """Writes images.parquet, captions.parquet, record.json and contact_sheet.png; prints the table."""
    attacked, (before, after) = target.under({"clean": None, name: attack}, seed)
    adversarial.keep(attacked, out, len(attacked.pairs))
    results.write(after, out / "record.json")
    contact_sheet.write(contact_sheet.of_pairs(attacked, before, after), out / "contact_sheet.png")
    show([before, after], out / "contact_sheet.png")


def write_metrics(found: list[Result], path: Path) -> None:
    """{"<model>": {"<attack>": {"tr_r1": ..., ...}}}, as the pipeline's metrics.json."""
    path.write_text(json.dumps(_metrics(found), indent=2, sort_keys=True) + "\n")


def show(found: list[Result], written: Path) -> None:
    """R@1 in percent with 95 % intervals for each attack; then what speaks against the numbers, and where all is."""
    (metrics,) = _metrics(found).values()
    typer.echo("| attack | image → text R@1 | text → image R@1 | fooled | forward | backward | captions | seconds |")
    typer.echo("|---|--:|--:|--:|--:|--:|--:|--:|")
    for one in found:
        costs = " | ".join(_mean(spent, "{:,.1f}") for spent in (one.forwards, one.backwards, one.texts))
        fooled = _mean([100 * success for success in one.success], "{:.1f} %")
        typer.echo(f"| {one.attack} | {_recalls(metrics[one.attack])} | {fooled} | {costs} | {one.seconds:.1f} |")
    if WORST in metrics and WORST not in {one.attack for one in found}:
        typer.echo(f"| {WORST} | {_recalls(metrics[WORST])} | | | | | |")
    typer.echo(f"\n{len(found[0].image_ids)} images, {len(found[0].caption_ids)} captions, on {found[0].device}")
    typer.echo("fooled: as the attack says; passes of the image tower and captions encoded on average an image")
    for one in found:
        for flag in one.flags:
            if not flag.ok:
                typer.echo(f"distrust {one.attack}: {flag.name} fails at {flag.value:.3g}; wanted: {flag.meaning}")
    typer.echo(written)


def _metrics(found: list[Result]) -> Metrics:
    return summarize({found[0].defense: {one.attack: one for one in found}}, Settings())


def _recalls(cell: Mapping[str, float]) -> str:
    return " | ".join(
        f"{cell[f'{w}_r1']:.1f} ({cell[f'{w}_r1_low']:.1f} to {cell[f'{w}_r1_high']:.1f})" for w in ("tr", "ir")
    )


def _mean(values: Sequence[int], form: str) -> str:
    return form.format(sum(values) / len(values)) if values else "–"
