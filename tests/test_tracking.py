from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from mlflow import MlflowClient
from mlflow.entities.model_registry import ModelVersion

from immunize.tracking import KEY, PublicationError, lock_key, publish, read_lock, registry


def runs(client: MlflowClient):
    return client.search_runs([e.experiment_id for e in client.search_experiments()])


def test_a_run_has_params_metrics_curves_report_and_models(toy, client):
    assert publish(toy).startswith("published")
    (run,) = [run for run in runs(client) if run.info.status == "FINISHED"]
    assert run.info.run_name == "toy"
    assert run.data.params["immunize.mat.joint"] == "12.0"
    assert run.data.metrics["mat.joint.tr_r1"] == 12.0
    curve = client.get_metric_history(run.info.run_id, "mat/loss")
    assert [(point.step, point.value) for point in curve] == [(step, 1 / (step + 1)) for step in range(5)]
    assert "report.html" in [file.path for file in client.list_artifacts(run.info.run_id)]
    version = client.get_model_version_by_alias("immunize-toy-mat", "challenger")
    assert version.source.endswith("/models/mat")
    assert {file.path for file in client.list_artifacts(run.info.run_id, "models/mat")} == {
        "models/mat/log.json",
        "models/mat/model.json",
    }


def test_twice_is_once_and_new_content_is_new(toy, client, shell, preset_line):
    publish(toy)
    assert publish(toy).startswith("already published")
    assert len(runs(client)) == 1
    preset_line("joint: 12.0", "joint: 13.0")
    shell("dvc", "repro", "-q", cwd=toy)
    publish(toy)
    assert len(runs(client)) == 2
    newest = client.get_model_version_by_alias("immunize-toy-mat", "challenger")
    assert int(newest.version) == 2  # this model is another
    same = client.get_model_version_by_alias("immunize-toy-finetune", "challenger")
    assert int(same.version) == 1


def test_a_publication_that_was_cut_off_is_made_again(toy, client, monkeypatch):
    def full(*_):
        raise OSError("no space left")

    with monkeypatch.context() as patch:
        patch.setattr(registry, "register", full)
        with pytest.raises(OSError, match="no space"):
            publish(toy)
    assert publish(toy).startswith("published")
    assert sorted(run.info.status for run in runs(client)) == ["FAILED", "FINISHED"]
    assert [KEY in run.data.tags for run in runs(client) if run.info.status == "FAILED"] == [False]


def test_the_key_follows_every_part_of_the_lock(toy):
    lock = read_lock(toy)
    keys = {lock_key(lock)}
    for part, value in [("cmd", "python other.py"), ("params", {}), ("deps", []), ("outs", [])]:
        keys.add(lock_key({**lock, "report": {**lock["report"], part: value}}))
    assert len(keys) == 5
    assert lock_key(dict(reversed(lock.items()))) == lock_key(lock)


@pytest.fixture
def pretrained(toy: Path) -> Callable[[str], str]:
    """pretrained("weights") puts a stage `pretrain` into dvc.lock as DVC would, and returns the md5 of its output."""

    def make(weights: str) -> str:
        folder, md5 = toy / "models/toy/pretrain", hashlib.md5(weights.encode(), usedforsecurity=False).hexdigest()
        folder.mkdir(exist_ok=True)
        (folder / "model.json").write_text(weights)
        lock = yaml.safe_load((toy / "dvc.lock").read_text())
        lock["stages"]["pretrain"] = {
            "cmd": "python work.py pretrain toy",
            "deps": [{"path": "work.py", "md5": "c0"}, {"path": "data/toy/collect", "md5": "d0.dir"}],
            "params": {"presets/toy.yaml": {"pretrain": {"inner": {"kind": "pgd", "steps": 2}}}},
            "outs": [{"path": "models/toy/pretrain", "md5": md5}],
        }
        (toy / "dvc.lock").write_text(yaml.safe_dump(lock))
        return md5

    return make


def challenger(client: MlflowClient, name: str) -> ModelVersion:
    return client.get_model_version_by_alias(name, "challenger")


def test_every_trained_model_has_one_version_for_each_content(toy, client, pretrained):
    """The first content again after another one: no third version, and `challenger` is what was published last."""
    seen = []
    for weights in ("one", "one", "two", "one"):
        pretrained(weights)
        publish(toy)
        seen.append(challenger(client, "immunize-toy-pretrain").version)
    assert list(map(int, seen)) == [1, 1, 2, 1]
    assert {model.name: len(client.search_model_versions(f"name = '{model.name}'")) for model in
            client.search_registered_models()} == {"immunize-toy-pretrain": 2, "immunize-toy-mat": 1,
                                                   "immunize-toy-finetune": 1}  # fmt: skip
    assert len(runs(client)) == 2
    kept = Path(challenger(client, "immunize-toy-pretrain").source.removeprefix("file://"))
    assert (kept / "model.json").read_text() == "one"


def test_a_store_of_older_code_gets_the_models_it_lacks(toy, client):
    publish(toy)
    client.delete_registered_model("immunize-toy-mat")
    assert publish(toy).startswith("already published")
    assert int(challenger(client, "immunize-toy-mat").version) == 1


def test_the_lineage_says_what_made_a_model(toy, client, pretrained, shell):
    md5 = pretrained("one")
    publish(toy)
    lock, tags = read_lock(toy), challenger(client, "immunize-toy-pretrain").tags
    assert tags == {
        "preset": "toy",
        "git.commit": shell("git", "rev-parse", "HEAD", cwd=toy).strip(),
        "dvc.md5": md5,
        "dvc.stage": "pretrain",
        "dvc.stage_key": lock_key({"pretrain": lock["pretrain"]}),
        "dvc.dep/data/toy/collect": "d0.dir",
        "recipe": tags["recipe"],
    }
    assert json.loads(tags["recipe"])["presets/toy.yaml"]["pretrain"]["inner"] == {"kind": "pgd", "steps": 2}
    mat = challenger(client, "immunize-toy-mat").tags
    (out,) = lock["immunize@mat"]["outs"]
    collected = {dep["path"]: dep["md5"] for dep in lock["immunize@mat"]["deps"]}["data/toy/collect"]
    assert (mat["dvc.stage"], mat["dvc.md5"], mat["dvc.dep/data/toy/collect"]) == (
        "immunize@mat",
        out["md5"],
        collected,
    )
    assert json.loads(mat["recipe"]) == {"presets/toy.yaml": {"immunize.mat": {"joint": 12.0, "seconds": 0}}}


def test_models_of_another_preset_in_the_lock_are_left_alone(toy, client, pretrained):
    lock = yaml.safe_load((toy / "dvc.lock").read_text())
    lock["stages"]["old"] = {"cmd": "x", "outs": [{"path": "models/other/immunize/mat", "md5": "0"}]}
    lock["stages"]["language"] = {"cmd": "x", "outs": [{"path": "models/toy/language", "md5": "0"}]}
    (toy / "dvc.lock").write_text(yaml.safe_dump(lock))
    publish(toy)
    assert {m.name for m in client.search_registered_models()} == {"immunize-toy-mat", "immunize-toy-finetune"}


def test_what_dvc_lock_does_not_name_is_refused(toy):
    (toy / "reports/toy/metrics.json").write_text("{}")
    with pytest.raises(PublicationError, match=r"metrics.json is not the file that dvc.lock names; run `dvc repro`"):
        publish(toy)
    (toy / "dvc.lock").unlink()
    with pytest.raises(PublicationError, match="run `dvc repro` first"):
        publish(toy)
