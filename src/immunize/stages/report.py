"""report: results -> reports/<preset> (metrics.json, figures/, report.html, model_card.md)."""

from __future__ import annotations

import json
from pathlib import Path

from immunize.config import load, preset
from immunize.report import Settings as Params
from immunize.report import augmentations, write
from immunize.report.tables import markdown


def main() -> None:
    params = load("report", Params)
    write(preset(), settings=params)
    reports = Path("reports") / preset()
    metrics = json.loads((reports / "metrics.json").read_text())
    for k in params.shown:
        print(markdown(metrics, k))
    if table := augmentations.rows(Path("."), preset(), metrics):
        print(augmentations.markdown(table))
    print(reports / "report.html")


if __name__ == "__main__":
    main()
