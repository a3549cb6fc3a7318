from __future__ import annotations

import re

import pytest

from immunize.pipeline.graph import PipelineError, Schedule, changes, nodes


def test_order_and_edges_are_those_of_dvc_dag(toy, shell):
    found = nodes(toy)
    edges = {(above, node.name) for node in found for above in node.upstream}
    assert edges == set(re.findall(r'"(.+?)" -> "(.+?)"', shell("dvc", "dag", "--dot", cwd=toy)))
    names = [node.name for node in found]
    assert len(names) == 4
    assert all(names.index(above) < names.index(below) for above, below in edges)


def test_a_stage_comes_with_all_it_needs_and_no_more(toy):
    assert [node.name for node in nodes(toy, ("immunize@mat",))] == ["collect", "immunize@mat"]
    assert {node.name for node in nodes(toy, ("immunize",))} == {"collect", "immunize@finetune", "immunize@mat"}


def test_the_time_limit_comes_from_meta(toy):
    limits = {node.name: node.schedule.timeout_seconds for node in nodes(toy)}
    assert limits == {"collect": None, "immunize@finetune": 60, "immunize@mat": 60, "report": None}


def test_a_wrong_meta_key_is_named(toy):
    path = toy / "dvc.yaml"
    path.write_text(path.read_text().replace("timeout_seconds", "timeout"))
    with pytest.raises(PipelineError, match=r"immunize@finetune: meta.prefect: timeout"):
        nodes(toy)


@pytest.mark.parametrize(
    ("targets", "text", "message"),
    [(("nope",), None, "nope"), ((), "stages: [", "dvc.yaml"), ((), None, "does not exist")],
    ids=["unknown stage", "not YAML", "no file"],
)
def test_what_cannot_be_read_is_one_clear_error(toy, targets, text, message):
    if text:
        (toy / "dvc.yaml").write_text(text)
    elif not targets:
        (toy / "dvc.yaml").unlink()
    with pytest.raises(PipelineError, match=message):
        nodes(toy, targets)


def test_changes_name_the_file_the_key_and_the_output(toy, preset_line):
    assert changes(toy) == {}
    preset_line("joint: 12.0", "joint: 8.0")
    (toy / "source.txt").write_text("other lines")
    (toy / "reports/toy/report.html").unlink()
    assert changes(toy) == {
        "collect": ("modified source.txt",),
        "immunize@mat": ("modified presets/toy.yaml: immunize.mat",),
        "report": ("missing output reports/toy/report.html",),
    }


def test_meta_does_not_change_the_stage(toy):
    path = toy / "dvc.yaml"
    path.write_text(path.read_text().replace("timeout_seconds: 60", "timeout_seconds: 61"))
    assert nodes(toy)[1].schedule == Schedule(61.0)
    assert changes(toy) == {}
