from __future__ import annotations

import pytest
from mlflow import MlflowClient

from immunize import tracking
from immunize.tracking import KEY, PublicationError, lock_key, publish, read_lock


@pytest.fixture
def client(toy) -> MlflowClient:
    return MlflowClient(f"sqlite:///{toy / 'mlflow.db'}")


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
        patch.setattr(tracking, "_register", full)
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


def test_what_dvc_lock_does_not_name_is_refused(toy):
    (toy / "reports/toy/metrics.json").write_text("{}")
    with pytest.raises(PublicationError, match=r"metrics.json is not the file that dvc.lock names; run `dvc repro`"):
        publish(toy)
    (toy / "dvc.lock").unlink()
    with pytest.raises(PublicationError, match="run `dvc repro` first"):
        publish(toy)
