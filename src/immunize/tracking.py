"""What DVC reproduced, published to MLflow once for each content: `python -m immunize.tracking`.

Nothing is logged while a stage runs: a skipped stage would log nothing and a forced one twice. The key is a hash of
dvc.lock, so it does not matter whether DVC ran a stage, skipped it or restored it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run

from immunize.config import preset

EXPERIMENT = "immunize"
KEY = "dvc.lock_key"


class PublicationError(RuntimeError):
    """The checkout is not what dvc.lock says; the message names the file and what to do."""


def publish(root: Path = Path("."), store: Path | None = None, uri: str | None = None) -> str:
    """One finished run with params, metrics, curves, report and models; a sentence saying which, or that it was there.

    `uri` is the MLflow server, by default the file mlflow.db in `store`, by default `root`. Raises PublicationError.
    """
    home = (store or root).resolve()
    name, lock = preset(root), read_lock(root)
    client = MlflowClient(uri or f"sqlite:///{home / 'mlflow.db'}")
    experiment = _experiment(client, None if uri else (home / "mlartifacts").as_uri())
    key = lock_key(lock)
    if hit := client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1):
        return f"already published as {hit[0].info.run_id}"
    run = client.create_run(experiment, run_name=name, tags={"git.commit": _commit(root), "preset": name})
    try:
        _log(client, run, root, name)
        models = _register(client, run, root, name, lock)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_tag(run.info.run_id, KEY, key)  # last: what was cut off half way is published again
    client.set_terminated(run.info.run_id)
    return f"published {run.info.run_id} with {', '.join(models) or 'no models'}"


def read_lock(root: Path) -> dict[str, Any]:
    """The stages of dvc.lock; raises PublicationError where an output that git tracks is not the one it names."""
    if not (root / "dvc.lock").exists():
        raise PublicationError(f"{root / 'dvc.lock'} does not exist; run `dvc repro` first")
    stages = yaml.safe_load((root / "dvc.lock").read_text())["stages"]
    for out in _outs(stages):
        path = root / out["path"]
        if path.suffix == ".json" and path.is_file() and _md5(path) != out["md5"]:
            raise PublicationError(f"{path} is not the file that dvc.lock names; run `dvc repro` first")
    return dict(stages)


def lock_key(stages: dict[str, Any]) -> str:
    """sha256 of every stage's command, params and content hashes: the same key for the same content anywhere."""
    content = {
        stage: [
            entry.get("cmd"),
            entry.get("params"),
            *([(file["path"], file["md5"]) for file in entry.get(kind, [])] for kind in ("deps", "outs")),
        ]
        for stage, entry in sorted(stages.items())
    }
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _experiment(client: MlflowClient, artifacts: str | None) -> str:
    """`artifacts` is None for a server, which has a store of its own."""
    if found := client.get_experiment_by_name(EXPERIMENT):
        return str(found.experiment_id)
    return str(client.create_experiment(EXPERIMENT, artifact_location=artifacts))


def _log(client: MlflowClient, run: Run, root: Path, name: str) -> None:
    run_id, began = run.info.run_id, run.info.start_time
    params = [Param(k, str(v)[:6000]) for k, v in _flat(yaml.safe_load((root / f"presets/{name}.yaml").read_text()))]
    for start in range(0, len(params), 100):  # MLflow's limit for one request
        client.log_batch(run_id, params=params[start : start + 100])
    metrics = root / f"reports/{name}/metrics.json"
    rows = [(key, value, 0) for key, value in _flat(json.loads(metrics.read_text()))] if metrics.exists() else []
    rows += [row for log in sorted((root / f"models/{name}").rglob("log.json")) for row in _curve(log)]
    measured = [Metric(key, float(value), began, step) for key, value, step in rows]
    for start in range(0, len(measured), 1000):
        client.log_batch(run_id, metrics=measured[start : start + 1000])
    for page in ("report.html", "model_card.md"):
        if (root / f"reports/{name}/{page}").exists():
            client.log_artifact(run_id, str(root / f"reports/{name}/{page}"))


def _curve(log: Path) -> Iterator[tuple[str, float, int]]:
    """Rows of a training's log.json as mat/loss, mat/lr, ... at each step."""
    for record in json.loads(log.read_text()):
        for key, value in record.items():
            if key != "step" and isinstance(value, int | float):
                yield f"{log.parent.name}/{key}", value, int(record["step"])


def _register(client: MlflowClient, run: Run, root: Path, name: str, lock: dict[str, Any]) -> list[str]:
    """Each defended model as immunize-<preset>-<defense>, alias `challenger`; a known one is not copied again."""
    registered = []
    for out in _outs(lock):
        folder = Path(out["path"])
        if folder.parent != Path(f"models/{name}/immunize"):
            continue
        model, digest = f"{EXPERIMENT}-{name}-{folder.name}", out["md5"]
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        known = [v for v in client.search_model_versions(f"name = '{model}'") if v.tags.get("dvc.md5") == digest]
        if not known:
            client.log_artifacts(run.info.run_id, str(root / folder), f"models/{folder.name}")
            source = f"{run.info.artifact_uri}/models/{folder.name}"
            known = [client.create_model_version(model, source, run.info.run_id, tags={"dvc.md5": digest})]
        client.set_registered_model_alias(model, "challenger", known[0].version)
        registered.append(f"{model} v{known[0].version}")
    return registered


def _outs(stages: dict[str, Any]) -> list[dict[str, Any]]:
    return [out for stage in stages.values() for out in stage.get("outs", [])]


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def _md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()


def _commit(root: Path) -> str:
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=root, capture_output=True, text=True)
    return done.stdout.strip() or "none"


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
