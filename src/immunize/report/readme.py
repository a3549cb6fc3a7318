"""Keeps the results in README.md equal to the results on disk: `python -m immunize.report.readme`."""

from __future__ import annotations

import json
from pathlib import Path

from immunize.report.summary import Metrics
from immunize.report.tables import markdown
from immunize.report.theme import dark

START, END = "<!-- results:start -->", "<!-- results:end -->"
PRESET = "scenes"
ALT = "Recall at 1 of each model on clean pairs and under attack on the image, on the text and on both; numbers below."


def block(metrics: Metrics, figure: Path) -> str:
    """The main figure, in the reader's light or dark, above the table."""
    return f"""{START}
<picture>
  <source media="(prefers-color-scheme: dark)" srcset="{dark(figure).as_posix()}">
  <img src="{figure.as_posix()}" alt="{ALT}">
</picture>

{markdown(metrics)}{END}"""


def updated(text: str, metrics: Metrics, figure: Path) -> str:
    """`text` with what is between the two markers replaced; raises ValueError if they are not there once, in order."""
    head, start, rest = text.partition(START)
    _, end, tail = rest.partition(END)
    if not (start and end) or START in rest or END in tail:
        raise ValueError(f"README.md needs one {START} and after it one {END}; add them where the results belong")
    return head + block(metrics, figure) + tail


def main(root: Path = Path(".")) -> None:
    readme, reports = root / "README.md", Path("reports") / PRESET
    metrics = json.loads((root / reports / "metrics.json").read_text())
    readme.write_text(updated(readme.read_text(), metrics, reports / "figures" / "clean_vs_robust.svg"))


if __name__ == "__main__":
    main()
