"""`immunize evaluate`: of a file of attacks, of a preset, and of nothing but a model and pairs."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result as Outcome

from immunize.evaluation import results

Cli = Callable[..., Outcome]


def test_evaluate_prints_what_it_writes(cli: Cli) -> None:
    Path("mine.yaml").write_text("floor: {kind: noise, threat: {norm: linf, eps: 4/255}}\n")
    Path("preset.yaml").write_text(
        "evaluate: {attacks: {clean: null, text: {kind: bert_attack, threat: {}, typos: 2}}}"
    )
    for file, name in (("mine.yaml", "floor"), ("preset.yaml", "text")):
        outcome = cli("evaluate", "--attacks", file, "--out", name)
        assert outcome.exit_code == 0, outcome.output
        (cells,) = json.loads(Path(name, "metrics.json").read_text()).values()
        assert sorted(cells) == sorted(("clean", name)) and "tr_asr" in cells[name] and "tr_asr" not in cells["clean"]
        (row,) = (line for line in outcome.stdout.splitlines() if line.startswith(f"| {name} |"))
        assert f"| {cells[name]['tr_r1']:.1f} (" in row and f"| {cells[name]['ir_r1']:.1f} (" in row
        assert results.read(Path(name, f"{name}.json")).attack == name


def test_evaluate_without_a_file_runs_image_text_and_joint(cli: Cli) -> None:
    outcome = cli("evaluate", "--limit", "2")
    assert outcome.exit_code == 0, outcome.output
    assert {path.stem for path in Path("out").glob("*.json")} == {"clean", "image", "text", "joint", "metrics"}
    (cells,) = json.loads(Path("out/metrics.json").read_text()).values()
    assert f"| worst | {cells['worst']['tr_r1']:.1f} (" in outcome.stdout
    assert cells["worst"]["tr_r1"] <= min(cells[name]["tr_r1"] for name in ("clean", "image", "text", "joint"))


def test_a_preset_brings_its_named_attacks_too(cli: Cli) -> None:
    ball = "threat: {norm: linf, eps: 4/255}"
    attacks = f"attacks: {{clean: null, a: {{kind: noise, {ball}}}}}"
    Path("preset.yaml").write_text(
        f"evaluate: {{{attacks}, named: {{sample: 2, attacks: {{b: {{kind: fgsm, {ball}}}}}}}}}"
    )
    outcome = cli("evaluate", "--attacks", "preset.yaml", "--limit", "3")
    assert outcome.exit_code == 0, outcome.output
    assert {path.stem for path in Path("out").glob("*.json")} == {"clean", "a", "b", "metrics"}
