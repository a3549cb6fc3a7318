"""dvc.yaml tells the truth: what a stage depends on is what it imports and reads, under one name everywhere."""

from __future__ import annotations

import ast
import importlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

from immunize.config import parse
from immunize.evaluation.results import WORST
from immunize.report.names import DEFENSES
from smoke import chosen

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
STAGES: dict[str, dict[str, Any]] = {
    name: stage.get("do", stage) for name, stage in yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"].items()
}
PRESETS = sorted((ROOT / "presets").glob("*.yaml"))
stages = pytest.mark.parametrize("stage", STAGES)
presets = pytest.mark.parametrize("preset", PRESETS, ids=lambda path: path.stem)


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    return grimp.build_graph("immunize", cache_dir=None)


def file_of(module: str) -> Path:
    path = SOURCE / module.replace(".", "/")
    return path / "__init__.py" if path.is_dir() else path.with_suffix(".py")


def parents(module: str) -> Iterator[str]:
    """The packages whose __init__ runs when the module is imported."""
    parts = module.split(".")
    yield from (".".join(parts[:end]) for end in range(1, len(parts)))


def says_something(path: Path) -> bool:
    """More than a docstring: what it holds can change a result."""
    return any(not isinstance(node, ast.Expr) for node in ast.parse(path.read_text()).body)


def closure(graph: grimp.ImportGraph, module: str) -> set[Path]:
    """Every file that runs when the module does, relative to the root."""
    seen: set[str] = set()
    waiting = {module}
    while waiting:
        name = waiting.pop()
        seen.add(name)
        waiting |= (graph.find_modules_directly_imported_by(name) | set(parents(name))) - seen
    return {file_of(name).relative_to(ROOT) for name in seen if says_something(file_of(name))}


def code_deps(stage: str) -> list[Path]:
    return [Path(dep) for dep in STAGES[stage]["deps"] if dep.startswith("src/")]


@stages
def test_every_file_that_a_stage_runs_is_a_dependency(stage: str, graph: grimp.ImportGraph) -> None:
    """DVC does not follow imports: what is missing here would leave stale results standing."""
    deps = code_deps(stage)
    files = closure(graph, f"immunize.stages.{stage}")
    missing = sorted(str(file) for file in files if not any(file == dep or dep in file.parents for dep in deps))
    assert missing == [], f"dvc.yaml: {stage}: deps lacks these"


@stages
def test_no_dependency_is_for_nothing(stage: str, graph: grimp.ImportGraph) -> None:
    files = closure(graph, f"immunize.stages.{stage}")
    assert [str(d) for d in code_deps(stage) if not any(f == d or d in f.parents for f in files)] == []
    assert all((ROOT / dep).exists() for dep in code_deps(stage))


def test_what_one_stage_reads_another_writes() -> None:
    """Inputs are outputs of stages before it, and every output stands in a folder of its preset."""
    written: list[str] = []
    for stage in STAGES.values():
        for dep in (dep for dep in stage["deps"] if not dep.startswith("src/")):
            assert any(covers(out, dep) for out in written), dep
        outs = [out if isinstance(out, str) else next(iter(out)) for out in (*stage["outs"], *stage.get("metrics", ()))]
        assert all(re.match(r"(data|models|reports)/\$\{preset\}/", out) for out in outs)
        written += outs


def covers(out: str, dep: str) -> bool:
    """Whether an output, a template of many perhaps, is or contains what is read."""
    pattern = re.sub(r"\\\$\\\{(item|key|item\\\.defense)\\\}", "[^/$]+|.+", re.escape(out))
    pattern = pattern.replace("[^/$]+|.+", "[^/]+")
    whole = any(out == f"{dep}/{name}" for name in ("${key}", "${item.defense}"))  # the folder of all of them
    return whole or re.match(rf"{pattern}(/|$)", dep) is not None or dep == "models/${preset}/${item}"


def test_one_word_everywhere() -> None:
    """Stage = file in stages/ = module in its command = section of every preset."""
    assert set(STAGES) == {path.stem for path in (SOURCE / "immunize/stages").glob("*.py")} - {"__init__"}
    for name, stage in STAGES.items():
        assert stage["cmd"].split()[:3] == ["python", "-m", f"immunize.stages.{name}"]
    for path in PRESETS:
        assert set(yaml.safe_load(path.read_text())) == set(STAGES), path.name


@stages
def test_parameters_are_the_stages_own_section(stage: str) -> None:
    """Named as a dependency and read by that name in the code; a further section must exist in each preset."""
    ((file, sections),) = STAGES[stage]["params"][0].items()
    assert file == "presets/${preset}.yaml" and len(STAGES[stage]["params"]) == 1
    assert sections[0] in (stage, f"{stage}.${{item.defense}}")
    assert {section.split(".")[0] for section in sections} <= set(STAGES)
    assert f'load("{stage}", ' in file_of(f"immunize.stages.{stage}").read_text()


@presets
@stages
def test_every_preset_is_understood_by_every_stage(stage: str, preset: Path) -> None:
    params = importlib.import_module(f"immunize.stages.{stage}").Params
    parse(yaml.safe_load(preset.read_text())[stage], params, f"{preset.name}: {stage}")


@presets
def test_a_preset_names_no_folder_of_another(preset: Path) -> None:
    assert set(re.findall(r"(?<![\w/])(?:data|models|reports)/(\w+)/", preset.read_text())) <= {preset.stem}


CHOSEN: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())


def test_every_defense_is_trained_evaluated_and_plotted() -> None:
    raw = yaml.safe_load((ROOT / "dvc.yaml").read_text())
    assert raw["stages"]["immunize"]["matrix"]["defense"] == "${defenses}"
    assert raw["stages"]["evaluate"]["foreach"] == "${models}"
    assert CHOSEN["models"] == {"pretrain": "pretrain"} | {name: f"immunize/{name}" for name in CHOSEN["defenses"]}
    plotted = {path for plot in raw["plots"] for path in plot}
    assert plotted == {f"models/${{preset}}/{folder}/log.json" for folder in CHOSEN["models"].values()}
    assert set(CHOSEN["models"]) <= set(DEFENSES)


@presets
def test_a_preset_has_every_defense_of_the_list_or_is_run_with_its_own(preset: Path) -> None:
    """`smoke` has few, for the time, and flows/smoke.py lists them; one line switches between the others."""
    sections = list(yaml.safe_load(preset.read_text())["immunize"])
    if preset.stem != "smoke":
        assert sections == CHOSEN["defenses"]
    written = yaml.safe_load(chosen(ROOT, preset.stem))
    assert written["preset"] == preset.stem and written["defenses"] == sections
    assert written["models"] == {"pretrain": "pretrain"} | {name: f"immunize/{name}" for name in sections}
    assert set(sections) <= set(CHOSEN["defenses"])


def test_gates_speak_of_what_is_measured() -> None:
    for preset, gates in yaml.safe_load((ROOT / "gates.yaml").read_text()).items():
        section = yaml.safe_load((ROOT / "presets" / f"{preset}.yaml").read_text())["evaluate"]
        attacks = {*section["attacks"], *(section.get("named") or {}).get("attacks", {}), WORST}
        for key in gates:
            defense, attack, _ = key.split(".")
            assert defense in CHOSEN["models"] and attack in attacks, f"gates.yaml: {preset}: {key}"
