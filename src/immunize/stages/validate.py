"""validate: data/<preset>/collect -> data/<preset>/validate (validation.json, .html), or the pipeline stops."""

from __future__ import annotations

import sys
from pathlib import Path

from immunize.config import load, preset
from immunize.data.validation import Thresholds as Params
from immunize.data.validation import ValidationFailed, validate


def main() -> None:
    data = Path("data") / preset()
    try:
        outcomes = validate(data / "collect", data / "validate", load("validate", Params))
    except ValidationFailed as error:
        sys.exit(f"ValidationFailed: {error}")
    warnings = [o for o in outcomes if not o.success]
    for o in warnings:
        print(f"warning: {o.name} ({o.says}): {o.unexpected} of {o.checked} rows, {'; '.join(o.examples[:5])}")
    print(f"{len(outcomes) - len(warnings)} of {len(outcomes)} expectations hold")


if __name__ == "__main__":
    main()
