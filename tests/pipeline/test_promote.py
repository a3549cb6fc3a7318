"""`champion` moves where the gate holds, to exactly what was judged, and nowhere else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from immunize.pipeline.promote import main, promote
from immunize.tracking import PublicationError, publish

ROOT = Path(__file__).parents[2]


def champions(client: MlflowClient) -> dict[str, int]:
    found = {}
    for model in client.search_registered_models():
        try:
            version = client.get_model_version_by_alias(model.name, "champion")
        except MlflowException:
            continue
        found[model.name.removeprefix("immunize-toy-")] = int(version.version)
    return found


def test_publishing_makes_no_champion_and_the_gate_does(toy, client):
    publish(toy)
    assert champions(client) == {}
    verdict = promote("HEAD", toy)
    assert verdict.code == 0 and "immunize-toy-mat v1 is champion" in verdict.markdown.splitlines()
    assert champions(client) == {"mat": 1, "finetune": 1}
    version = client.get_model_version_by_alias("immunize-toy-mat", "champion")
    assert version.tags["gate"].startswith("all 2 gates hold (preset toy, against HEAD")


@pytest.mark.parametrize(("joint", "code", "champion"), [("8.0", 1, 1), ("13.0", 0, 2)])
def test_the_champion_moves_only_with_a_gate_that_holds(joint, code, champion, toy, client, shell, preset_line):
    publish(toy)
    promote("HEAD", toy)
    preset_line("joint: 12.0", f"joint: {joint}")
    shell("dvc", "repro", "-q", cwd=toy)
    publish(toy)
    verdict = promote("HEAD", toy)
    assert verdict.code == code and ("1 of 2 gates failed" in verdict.markdown) == bool(code)
    assert champions(client) == {"mat": champion, "finetune": 1}
    assert int(client.get_model_version_by_alias("immunize-toy-mat", "challenger").version) == 2


def test_what_was_not_published_or_judged_is_not_promoted(toy, client, capsys):
    with pytest.raises(PublicationError, match=r"immunize-toy-mat: what dvc\.lock names is not in the registry; run"):
        promote("HEAD", toy)
    publish(toy)
    client.delete_registered_model("immunize-toy-mat")
    assert main(["HEAD", "--root", str(toy)]) == 2 and "not promoted" in capsys.readouterr().out
    assert champions(client) == {}  # all or none
    assert main(["nowhere", "--root", str(toy)]) == 2 and "cannot judge" in capsys.readouterr().out
    metrics = toy / "reports/toy/metrics.json"
    metrics.write_text(metrics.read_text().replace("12.0", "99.0"))  # better numbers than those of the models
    with pytest.raises(PublicationError, match=r"metrics.json is not the file that dvc.lock names"):
        promote("HEAD", toy)


def test_nothing_else_in_the_project_names_a_champion():
    code = [*(ROOT / "src").rglob("*.py"), *(ROOT / "flows").rglob("*.py")]
    setters = [path.name for path in code if re.search(r"CHAMPION|[\"']champion[\"']", path.read_text())]
    assert setters == ["promote.py"]
