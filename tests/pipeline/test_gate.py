from __future__ import annotations

import json

import pytest

from immunize.config import ConfigurationError
from immunize.pipeline.gate import gate, judge, read_gates


@pytest.fixture
def measure(toy):
    """Plants a value of a metric in the working tree; None takes it out."""

    def write(metric: str, value: float | str | None) -> None:
        path = toy / "reports/toy/metrics.json"
        metrics = json.loads(path.read_text())
        defense, attack, name = metric.split(".")
        metrics[defense][attack] = {k: v for k, v in metrics[defense][attack].items() if k != name}
        if value is not None:
            metrics[defense][attack][name] = value
        path.write_text(json.dumps(metrics))

    return write


def test_the_same_metrics_pass(toy, capsys):
    assert gate("HEAD", toy) == 0
    assert "all 2 gates hold" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("metric", "value", "code", "verdict"),
    [
        ("mat.joint.tr_r1", 8.9, 1, "below the floor 9"),
        ("mat.joint.tr_r1", 9.0, 0, "ok"),  # exactly max_drop, exactly the floor
        ("mat.joint.tr_r1", 10.5, 0, "ok (within noise)"),
        ("mat.joint.tr_r1", 60.0, 0, "ok"),
        ("mat.joint.tr_r1", None, 1, "FAIL: missing"),
        ("mat.joint.tr_r1", float("nan"), 1, "FAIL: missing"),
        ("mat.joint.tr_r1", "12.0", 1, "FAIL: missing"),
        ("mat.joint.tr_r1", True, 1, "FAIL: missing"),
        ("finetune.joint.tr_r1", 3.5, 1, "FAIL: lost 2.50, more than 2"),  # lower is better
        ("finetune.joint.tr_r1", 0.0, 0, "ok"),
    ],
)
def test_each_gate_judges(toy, measure, metric, value, code, verdict):
    measure(metric, value)
    found = judge("HEAD", toy)
    (row,) = [line for line in found.markdown.splitlines() if line.startswith(f"| {metric} ")]
    assert (found.code, verdict in row) == (code, True), row


def test_noise_explains_a_loss_and_never_excuses_it(toy, measure):
    measure("finetune.joint.tr_r1_low", -50.0)
    measure("finetune.joint.tr_r1", 40.0)
    assert "within noise" in judge("HEAD", toy).markdown
    assert judge("HEAD", toy).code == 1


def test_all_metrics_gone_is_a_failure(toy):
    (toy / "reports/toy/metrics.json").unlink()
    assert judge("HEAD", toy).code == 1


@pytest.mark.parametrize("base", ["no-such-branch", "0123456789abcdef", "--help", ""])
def test_an_unknown_base_cannot_be_judged(toy, base, capsys):
    assert gate(base, toy) == 2
    assert f"'{base}' is no git revision here" in capsys.readouterr().out


def test_a_base_without_metrics_needs_leave_and_then_floors_still_hold(toy, shell, measure):
    shell("git", "rm", "-q", "--cached", "reports/toy/metrics.json", cwd=toy)
    shell("git", "commit", "-q", "-m", "without metrics", cwd=toy)
    assert gate("HEAD", toy) == 2
    assert gate("HEAD", toy, allow_no_base=True) == 0
    measure("mat.joint.tr_r1", 8.0)
    assert gate("HEAD", toy, allow_no_base=True) == 1


def test_a_metric_that_the_base_lacks_is_new(toy, shell, measure):
    measure("mat.joint.tr_r1", None)
    shell("git", "commit", "-q", "-a", "-m", "without one", cwd=toy)
    measure("mat.joint.tr_r1", 12.0)
    assert "ok (new)" in judge("HEAD", toy).markdown


def test_a_preset_without_gates_cannot_be_judged(toy, capsys):
    (toy / "gates.yaml").write_text("other: {}")
    assert gate("HEAD", toy) == 2
    assert "no gates for preset 'toy'" in capsys.readouterr().out


@pytest.mark.parametrize("line", ["{better: up, max_drop: 1}", "{better: higher, max_drop: -1}", "{better: higher}"])
def test_a_wrong_gate_is_named(toy, line):
    (toy / "gates.yaml").write_text(f"toy: {{a.b.c: {line}}}")
    with pytest.raises(ConfigurationError, match=r"gates.yaml: toy: a\.b\.c"):
        read_gates(toy, "toy")


def test_the_gates_of_this_project_can_be_read(request):
    gates = read_gates(request.config.rootpath, "scenes")
    assert gates["mat.joint.tr_r1"].better == "higher"
