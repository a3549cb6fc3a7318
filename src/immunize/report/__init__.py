"""Everything a reader sees: metrics.json, figures, one self-contained page and a model card, rendered from results."""

from __future__ import annotations

import json
from pathlib import Path

from immunize.evaluation.results import Result, read_all, read_sweep
from immunize.report import adaptation, card, detection, dots, figures, heat, page, picture, timeline
from immunize.report.gallery import Example, by_image, examples
from immunize.report.names import ordered
from immunize.report.summary import Metrics, Results, Settings, summarize
from immunize.report.tables import best_defense, grouped

__all__ = ["Metrics", "Results", "Settings", "summarize", "write"]

DEFAULT = Settings()


def write(preset: str, root: Path = Path("."), settings: Settings = DEFAULT) -> Metrics:
    """reports/<preset>/: metrics.json, figures/, report.html and model_card.md, from what stands under `root`.

    Same inputs, same bytes. Logs, sweeps, kept adversarial sets, the validation, and what verifier, policy and the attacks on
    both came to are shown where they exist. Raises ResultError if no result does.
    """
    reports = root / "reports" / preset
    results = read_all(reports / "results")
    metrics = summarize(results, settings)
    galleries = {name: _gallery(results[name], root) for name in ordered(results)}
    galleries = {name: shown for name, shown in galleries.items() if shown}
    best = best_defense(metrics)
    names = [attack for group in grouped(metrics, results).values() for attack in group if attack != "clean"]
    side_by_side = by_image(results[best], names, root)
    _draw(metrics, results, preset, root)
    _pictures(galleries, side_by_side, reports / "figures")
    content = page.Content(preset, root, metrics, results, galleries, (best, side_by_side))
    (reports / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True) + "\n")
    (reports / "model_card.md").write_text(card.render(metrics, results, preset, root))
    (reports / "report.html").write_text(page.render(content))
    return metrics


def _draw(metrics: Metrics, results: Results, preset: str, root: Path) -> None:
    folder = root / "reports" / preset / "figures"
    figures.clean_vs_robust(metrics, folder / "clean_vs_robust.svg")
    heat.write(metrics, results, folder / "attacks.svg")
    if logs := _logs(root / "models" / preset):
        figures.loss_curves(logs, folder / "loss_curves.svg")
    sweeps = {path.parent.name: read_sweep(path) for path in (root / "reports" / preset).glob("results/*/sweep.json")}
    if sweeps:
        figures.epsilon_sweep(sweeps, folder / "epsilon_sweep.svg")
    if found := detection.read(root, preset):
        dots.write(found, folder / "detection.svg")
    if chosen := adaptation.read(root, preset):
        timeline.regret(chosen, folder / "regret.svg")
        timeline.timeline(chosen, folder / "timeline.svg")


def _pictures(galleries: dict[str, list[Example]], side_by_side: list[list[Example]], folder: Path) -> None:
    for defense, shown in galleries.items():
        picture.write(shown, folder / f"gallery_{defense}.png")
    if side_by_side:
        picture.write(side_by_side[0], folder / "gallery_attacks.png")


def _gallery(by_attack: dict[str, Result], root: Path) -> list[Example]:
    strongest = by_attack.get("joint")
    return examples(strongest, by_attack["clean"], root) if strongest else []


def _logs(models: Path) -> dict[str, figures.Log]:
    paths = [models / "pretrain" / "log.json", *sorted(models.glob("immunize/*/log.json"))]
    logs = {path.parent.name: json.loads(path.read_text()) for path in paths if path.exists()}
    return {name: log for name, log in logs.items() if log}  # loaded weights leave an empty log
