"""report: results -> reports/<preset> (metrics.json, figures/, report.html, model_card.md)."""

from __future__ import annotations

from immunize.config import load, preset
from immunize.report import Settings as Params
from immunize.report import write


def main() -> None:
    write(preset(), settings=load("report", Params))
    print(f"reports/{preset()}/report.html")


if __name__ == "__main__":
    main()
