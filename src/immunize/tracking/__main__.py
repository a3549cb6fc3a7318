"""`python -m immunize.tracking`."""

from __future__ import annotations

import argparse
from pathlib import Path

from immunize.tracking import publish


def main() -> None:
    """Prints what was published."""
    parser = argparse.ArgumentParser(description="Publish what DVC reproduced to MLflow, once for each content.")
    parser.add_argument("--root", type=Path, default=Path("."), help="the checkout")
    parser.add_argument("--store", type=Path, help="the folder of mlflow.db (default: the checkout)")
    parser.add_argument("--uri", help="an MLflow server instead")
    chosen = parser.parse_args()
    print(publish(chosen.root, chosen.store, chosen.uri))


if __name__ == "__main__":
    main()
