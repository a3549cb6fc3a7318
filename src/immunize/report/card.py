"""The model card of the defense that holds best under joint attack, in the format of the Hugging Face hub."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import yaml
from jinja2 import Environment, PackageLoader, StrictUndefined

from immunize.evaluation.results import Result
from immunize.report.names import ATTACKS, attack_label, defense_label, ordered
from immunize.report.summary import Metrics, Results
from immunize.report.tables import attacked, best_defense


def render(metrics: Metrics, results: Results, preset: str, root: Path) -> str:
    """Markdown with nothing in it that depends on when or how fast it was made."""
    best = best_defense(metrics)
    by_attack = results[best]
    environment = Environment(
        loader=PackageLoader("immunize.report"),
        undefined=StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,
    )
    return environment.get_template("card.md").render(
        preset=preset,
        name=best,
        label=defense_label(best),
        any=next(iter(by_attack.values())),
        attacked=attacked(by_attack.values()),
        rows=[(attack_label(a), metrics[best][a]) for a in ordered(metrics[best], ATTACKS)],
        attacks=[
            (attack_label(a), _yaml(by_attack[a].config), _spent(by_attack[a])) for a in ordered(by_attack, ATTACKS)
        ],
        training=_section(root / "presets" / f"{preset}.yaml", "immunize"),
        data=_section(root / "presets" / f"{preset}.yaml", "collect"),
        failed=[(attack_label(a), f) for a in ordered(by_attack, ATTACKS) for f in by_attack[a].flags if not f.ok],
        checks=sum(len(r.flags) for r in by_attack.values()),
    )


def _spent(result: Result) -> str:
    words = sum(result.changed_words) / len(result.changed_words)
    pixels = 255 * max(result.linf)
    return f"{len(result.linf):,} images, largest pixel change {pixels:.2f}/255, {words:.2f} words changed a caption"


def _section(path: Path, key: str) -> str:
    return _yaml((yaml.safe_load(path.read_text()) or {}).get(key)) if path.exists() else ""


def _yaml(value: Any) -> str:
    return yaml.safe_dump(value, sort_keys=True, allow_unicode=True).strip() if value else ""
