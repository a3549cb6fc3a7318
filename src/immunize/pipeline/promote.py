"""The published models become `champion` where every gate holds, and in no other way: see `promote`."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from immunize.config import ConfigurationError, preset
from immunize.pipeline.gate import Verdict, judge
from immunize.tracking import PublicationError, connect, published, read_lock

CHAMPION = "champion"


def promote(base: str, root: Path = Path("."), store: Path | None = None, uri: str | None = None) -> Verdict:
    """Move `champion` to the versions that dvc.lock names, all or none, where the gate against `base` holds.

    The verdict is the gate's; `markdown` begins with a line for each model that moved. Each version is tagged with the
    verdict's first line. `store` and `uri` as in `publish`. Raises PublicationError where metrics.json is not that of
    dvc.lock or a model is not published, ConfigurationError where the preset has no gates; then nothing moves.
    """
    lock, name = read_lock(root), preset(root)  # read_lock: the metrics that are judged are those of these models
    verdict = judge(base, root)
    if verdict.code:
        return verdict
    client, moved = connect(root, store, uri), []
    for model, version in published(client, name, lock).items():
        client.set_model_version_tag(model, version.version, "gate", verdict.markdown.splitlines()[0])
        client.set_registered_model_alias(model, CHAMPION, version.version)
        moved.append(f"{model} v{version.version} is {CHAMPION}")
    return Verdict(0, "\n".join([*moved, "", verdict.markdown]))


def main(arguments: list[str] | None = None) -> int:
    """0 promoted, 1 a regression, 2 cannot be judged or was not published."""
    parser = argparse.ArgumentParser(description="Make the published models champion where the gate holds.")
    parser.add_argument("base", help="the git revision to be judged against")
    parser.add_argument("--root", type=Path, default=Path("."), help="the checkout")
    parser.add_argument("--store", type=Path, help="the folder of mlflow.db (default: the checkout)")
    parser.add_argument("--uri", help="an MLflow server instead")
    chosen = parser.parse_args(arguments)
    try:
        verdict = promote(chosen.base, chosen.root, chosen.store, chosen.uri)
    except (ConfigurationError, PublicationError) as error:
        verdict = Verdict(2, f"not promoted: {error}")
    print(verdict.markdown)
    return verdict.code


if __name__ == "__main__":
    sys.exit(main())
