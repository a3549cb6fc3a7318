"""dvc.yaml tells the truth: what a stage depends on is what it imports and reads, under one name everywhere."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grimp
import pytest
import yaml

import immunize.stages.immunize
from immunize.config import parse
from immunize.evaluation.results import WORST
from immunize.pipeline import choose

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src"
RAW: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "dvc.yaml").read_text())["stages"]
STAGES: dict[str, dict[str, Any]] = {name: stage.get("do", stage) for name, stage in RAW.items()}
CHOSEN: dict[str, Any] = yaml.safe_load((ROOT / "params.yaml").read_text())
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


def members(stage: str) -> list[dict[str, str]]:
    """What `key` and `item` stand for in each stage that a `foreach` makes, and `watched` in others, by params.yaml."""
    each = RAW[stage].get("foreach")
    if each is None:
        return [{"watched": CHOSEN["watched"]}]
    named: dict[str, str] = CHOSEN[each[2:-1]]
    return [{"key": key, "item": item} for key, item in named.items()]


def paths(stage: str, *kinds: str) -> list[str]:
    """Every path of these kinds, with `${preset}` left as it is."""
    listed = [path for kind in kinds for path in STAGES[stage].get(kind, ())]
    templates = [path if isinstance(path, str) else next(iter(path)) for path in listed]
    found = []
    for one in members(stage):
        for path in templates:
            for name, value in one.items():
                path = path.replace(f"${{{name}}}", value)
            found.append(path)
    return found


def test_what_one_stage_reads_another_writes() -> None:
    """Inputs are outputs of stages before it, or folders of them, and every output stands in a folder of its preset."""
    written: list[str] = []
    for stage in STAGES:
        for dep in (dep for dep in paths(stage, "deps") if not dep.startswith("src/")):
            assert any(f"{dep}/".startswith(f"{out}/") or f"{out}/".startswith(f"{dep}/") for out in written), dep
        outs = paths(stage, "outs", "metrics")
        assert all(re.match(r"(data|models|reports)/\$\{preset\}/", out) for out in outs)
        written += outs


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
    assert sections[0] in (stage, f"{stage}.${{key}}")
    assert {section.split(".")[0] for section in sections} <= set(STAGES)
    assert f'load("{stage}", ' in file_of(f"immunize.stages.{stage}").read_text()


@presets
@stages
def test_every_preset_is_understood_by_every_stage(stage: str, preset: Path) -> None:
    params = importlib.import_module(f"immunize.stages.{stage}").Params
    parse(yaml.safe_load(preset.read_text())[stage], params, f"{preset.name}: {stage}")


@presets
def test_what_dvc_keeps_is_not_gits(preset: Path) -> None:
    """DVC refuses a stage whose output git has, and only after the stage has run."""
    outs = [out for stage in STAGES.values() for out in stage.get("outs", ()) if isinstance(out, str)]
    paths = [re.sub(r"\$\{(\w+)\}", lambda found: preset.stem if found[1] == "preset" else "mat", out) for out in outs]
    within = [f"{path}/file" for path in paths]  # a pattern for folders does not match one that is not there
    ignored = subprocess.run(["git", "check-ignore", *within], cwd=ROOT, capture_output=True, text=True).stdout.split()
    tracked = subprocess.run(["git", "ls-files", *paths], cwd=ROOT, capture_output=True, text=True).stdout.split()
    assert sorted(ignored) == sorted(within) and tracked == []


@presets
def test_a_preset_names_no_folder_of_another(preset: Path) -> None:
    assert set(re.findall(r"(?<![\w/])(?:data|models|reports)/(\w+)/", preset.read_text())) <= {preset.stem}


def test_the_lists_of_params_are_those_of_its_preset() -> None:
    """And what is trained is evaluated."""
    assert (ROOT / "params.yaml").read_text() == choose.params(CHOSEN["preset"], ROOT)
    assert CHOSEN["models"] == {"pretrain": "pretrain"} | {name: f"immunize/{name}" for name in CHOSEN["defenses"]}


@presets
def test_pairs_that_are_trained_on_are_made(preset: Path) -> None:
    sections = yaml.safe_load(preset.read_text())
    lists = yaml.safe_load(choose.params(preset.stem, ROOT))
    made = {"collect", *(f"augment/{name}" for name in sections["augment"]["augmentations"])}
    assert set(lists["defenses"].values()) <= made
    recipes = parse(sections["immunize"], immunize.stages.immunize.Params, preset.name)
    assert {name: recipe.pairs for name, recipe in recipes.items()} == lists["defenses"]


def test_gates_speak_of_what_is_measured() -> None:
    for preset, gates in yaml.safe_load((ROOT / "gates.yaml").read_text()).items():
        section = yaml.safe_load((ROOT / "presets" / f"{preset}.yaml").read_text())["evaluate"]
        attacks = {*section["attacks"], *(section.get("named") or {}).get("attacks", {}), WORST}
        for key in gates:
            defense, attack, _ = key.split(".")
            assert defense in CHOSEN["models"] and attack in attacks, f"gates.yaml: {preset}: {key}"
