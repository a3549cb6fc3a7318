"""One run for each content of dvc.lock: its params, metrics, curves and report."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml
from mlflow import MlflowClient
from mlflow.entities import Metric, Param, Run

from immunize.config import preset
from immunize.tracking import registry
from immunize.tracking.lock import commit, lock_key, read_lock

EXPERIMENT = "immunize"
KEY = "dvc.lock_key"


def publish(root: Path = Path("."), store: Path | None = None, uri: str | None = None) -> str:
    """One finished run with params, metrics, curves, report and models; a sentence saying which, or that it was there.

    `uri` is the MLflow server, by default the file mlflow.db in `store`, by default `root`. The models of a run that was
    there get their alias again: `challenger` is what was published last. Raises PublicationError.
    """
    name, lock = preset(root), read_lock(root)
    client = connect(root, store, uri)
    experiment = _experiment(client, None if uri else ((store or root).resolve() / "mlartifacts").as_uri())
    key = lock_key(lock)
    if hit := client.search_runs([experiment], f"tags.`{KEY}` = '{key}'", max_results=1):
        registry.register(client, hit[0], root, name, lock)
        return f"already published as {hit[0].info.run_id}"
    run = client.create_run(experiment, run_name=name, tags={"git.commit": commit(root), "preset": name})
    try:
        _log(client, run, root, name)
        models = registry.register(client, run, root, name, lock)
    except BaseException:
        client.set_terminated(run.info.run_id, "FAILED")
        raise
    client.set_tag(run.info.run_id, KEY, key)  # last: what was cut off half way is published again
    client.set_terminated(run.info.run_id)
    return f"published {run.info.run_id} with {', '.join(models) or 'no models'}"


def connect(root: Path, store: Path | None = None, uri: str | None = None) -> MlflowClient:
    """The server at `uri`, or the file mlflow.db in `store`, by default `root`."""
    return MlflowClient(uri or f"sqlite:///{(store or root).resolve() / 'mlflow.db'}")


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


def _flat(tree: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, dict):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value
