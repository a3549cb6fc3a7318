"""One HTML file that needs nothing else: style, charts and pictures are inside, scripts there are none."""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup
from PIL import Image

from immunize.report import adaptation, adaptive, augmentations, detection
from immunize.report.gallery import Example, Pixels, magnified
from immunize.report.names import ATTACKS, HEADLINE, attack_label, defense_label, ordered
from immunize.report.summary import Metrics, Results
from immunize.report.tables import WAYS, attacked, best_defense, depths, grouped, widest
from immunize.report.theme import UNDEFENDED, dark

CHARTS = {
    "clean_vs_robust": ("Clean and under attack", "Bars: R@1. Whiskers: 95 % bootstrap intervals over images."),
    "attacks": (
        "Every attack on every model",
        "R@1: the darker, the more is left. On the image, the text and both; within each, the strongest attack last. "
        "How many images each was on stands with the attacks below.",
    ),
    "epsilon_sweep": ("Radius of the image attack", "R@1 as the attack on the image may change each pixel more."),
    "loss_curves": ("Training", "Thin: the loss of each step. Thick: its moving average."),
}


@dataclass(frozen=True, slots=True)
class Content:
    """What the page shows; the figures are read from `root/reports/<preset>/figures`.

    `side_by_side`: a model, and images of it under each of its attacks.
    """

    preset: str
    root: Path
    metrics: Metrics
    results: Results
    galleries: dict[str, list[Example]]
    side_by_side: tuple[str, list[list[Example]]]


def render(content: Content) -> str:
    environment = Environment(
        loader=PackageLoader("immunize.report"), undefined=StrictUndefined, autoescape=True,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters |= {
        "defense": defense_label, "attack": attack_label, "detector": detection.detector_label,
        "case": detection.case_label, "contender": adaptation.contender_label, "known": adaptive.known_label,
        "pixels": _png, "spaced": _spaced,
    }  # fmt: skip
    css = environment.get_template("page.css").render()
    cells = [
        (d, a, content.results[d][a]) for d in ordered(content.results) for a in ordered(content.results[d], ATTACKS)
    ]
    return environment.get_template("page.html").render(
        preset=content.preset,
        css=Markup(css),  # ours, not a user's
        any=cells[0][2],
        attacked=attacked(result for *_, result in cells),
        named=[(d, _named(content, d)) for d in ordered(content.results)],
        metrics=content.metrics,
        defenses=ordered(content.metrics),
        headline=[a for a in HEADLINE if any(a in c for c in content.metrics.values())],
        ways=WAYS,
        ks=depths(content.metrics),
        finding=_finding(content.metrics),
        widest=widest(content.metrics),
        cells=cells,
        checks=[(d, a, flag) for d, a, result in cells for flag in result.flags],
        charts=_charts(content, CHARTS),
        **_defending(content),
        galleries=[(d, *magnified(shown), shown) for d, shown in content.galleries.items()],
        side_by_side=(content.side_by_side[0], [_rows(shown) for shown in content.side_by_side[1]]),
        validation=_validation(content.root / "data" / content.preset / "validate" / "validation.json"),
        augmentations=augmentations.rows(content.root, content.preset, content.metrics),
        measured=[heading for heading, _ in augmentations.COLUMNS.values()],
        settings=_settings(content.results),
        seconds=sum(result.seconds for _, _, result in cells),
    )


def _named(content: Content, defense: str) -> list[dict[str, Any]]:
    """One row an attack on this model: what is left, what the attack claims, what it cost an image."""
    by_attack = content.results[defense]
    order = [a for group in grouped(content.metrics, content.results).values() for a in group]
    return [
        {
            "attack": a,
            "cell": content.metrics[defense][a],
            "result": by_attack[a],
            "success": _average(by_attack[a].success),
            "spent": [_average(spent) for spent in (by_attack[a].forwards, by_attack[a].backwards, by_attack[a].texts)],
        }
        for a in order
        if a in by_attack and a != "clean"
    ]


def _average(values: Sequence[int]) -> float | None:
    return sum(values) / len(values) if values else None


def _rows(shown: list[Example]) -> list[tuple[Example, Pixels, int]]:
    """Each example with its difference, magnified by a factor of its own."""
    found = [magnified([example]) for example in shown]
    return [(example, difference, factor) for example, (factor, (difference,)) in zip(shown, found, strict=True)]


def _finding(metrics: Metrics) -> dict[str, Any] | None:
    """The strongest defense under joint attack beside the undefended model, or None where one of them was not run."""
    plain = [d for d in reversed(ordered(metrics)) if d in UNDEFENDED and "joint" in metrics[d]]
    best = best_defense(metrics)
    if not plain or best in UNDEFENDED or "joint" not in metrics[best]:
        return None
    return {"plain": plain[0], "before": metrics[plain[0]]["joint"], "best": best, "after": metrics[best]["joint"]}


def _settings(results: Results) -> list[tuple[str, list[str], str]]:
    """(attack, the defenses it was run on, its configuration), one entry for each distinct configuration."""
    runs: dict[tuple[str, str], list[str]] = {}
    for defense in ordered(results):
        for attack in ordered(results[defense], ATTACKS):
            config = json.dumps(results[defense][attack].config, indent=2, sort_keys=True, ensure_ascii=False)
            runs.setdefault((attack, config), []).append(defense)
    places = {attack: place for place, attack in enumerate(ordered({attack for attack, _ in runs}, ATTACKS))}
    return [(a, runs[a, config], config) for a, config in sorted(runs, key=lambda run: (places[run[0]], runs[run]))]


def _defending(content: Content) -> dict[str, Any]:
    """What verifier, policy and the attacks that know them came to; None for what was not run."""
    chosen = adaptation.read(content.root, content.preset)
    return {
        "detection": detection.read(content.root, content.preset),
        "told": detection.MEASURES,
        "groups": detection.GROUPS,
        "detection_charts": _charts(content, detection.CHARTS),
        "adaptation": chosen,
        "versions": adaptation.VERSIONS,
        "contender_columns": adaptation.COLUMNS,
        "regimes": chosen.regimes if chosen else [],
        "adaptation_charts": _charts(content, adaptation.CHARTS),
        "adaptive": adaptive.read(content.root, content.preset),
        "system_columns": adaptive.COLUMNS,
    }


def _charts(content: Content, named: Mapping[str, tuple[str, str]]) -> list[dict[str, str]]:
    folder = content.root / "reports" / content.preset / "figures"
    return [
        {"title": title, "note": note, "light": _uri(path.read_bytes()), "dark": _uri(dark(path).read_bytes())}
        for name, (title, note) in named.items()
        if (path := folder / f"{name}.svg").exists()
    ]


def _validation(path: Path) -> dict[str, Any] | None:
    return json.loads(path.read_text()) if path.exists() else None


def _uri(data: bytes, kind: str = "svg+xml") -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _png(pixels: Pixels) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return _uri(buffer.getvalue(), "png")


def _spaced(number: int) -> str:
    return f"{number:,}"
