"""Trained models in MLflow's registry: one model for each preset and defense, one version for each content.

The alias `challenger` is the version published last. `champion` is moved by `immunize.pipeline.promote` alone, behind the gate.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlflow import MlflowClient
from mlflow.entities import Run
from mlflow.entities.model_registry import ModelVersion

from immunize.tracking.lock import Made, PublicationError, commit, trained

CHALLENGER = "challenger"


def register(client: MlflowClient, run: Run, root: Path, preset: str, lock: dict[str, Any]) -> list[str]:
    """Each trained model as immunize-<preset>-<defense> with its lineage as tags; a known content is not copied again."""
    said = []
    for made in trained(lock, preset):
        name = name_of(preset, made)
        version = find(client, name, made.md5) or _add(client, run, root, preset, made)
        client.set_registered_model_alias(name, CHALLENGER, version.version)
        said.append(f"{name} v{version.version}")
    return said


def published(client: MlflowClient, preset: str, lock: dict[str, Any]) -> dict[str, ModelVersion]:
    """{name: the version that dvc.lock names} of every trained model; raises PublicationError where one is not there."""
    versions, missing = {}, []
    for made in trained(lock, preset):
        name = name_of(preset, made)
        if version := find(client, name, made.md5):
            versions[name] = version
        else:
            missing.append(name)
    if missing:
        raise PublicationError(
            f"{', '.join(missing)}: what dvc.lock names is not in the registry; run `python -m immunize.tracking` first"
        )
    return versions


def name_of(preset: str, made: Made) -> str:
    """The name in the registry: immunize-<preset>-<defense>."""
    return f"immunize-{preset}-{made.folder.name}"


def find(client: MlflowClient, name: str, md5: str) -> ModelVersion | None:
    """The version with that content."""
    known = client.search_model_versions(f"name = '{name}'")
    return next((version for version in known if version.tags.get("dvc.md5") == md5), None)


def _add(client: MlflowClient, run: Run, root: Path, preset: str, made: Made) -> ModelVersion:
    name = name_of(preset, made)
    if not client.search_registered_models(f"name = '{name}'"):
        client.create_registered_model(name)
    client.log_artifacts(run.info.run_id, str(root / made.folder), f"models/{made.folder.name}")
    source = f"{run.info.artifact_uri}/models/{made.folder.name}"
    tags = {"preset": preset, "git.commit": commit(root), **made.lineage()}
    return client.create_model_version(name, source, run.info.run_id, tags=tags)
