"""The schema on disk: what is written comes back, and what is not a result is refused by name."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from immunize.config import ConfigurationError
from immunize.evaluation.results import Flag, Result, ResultError, Sweep, read, read_all, read_sweep, write


def result(**changed: Any) -> Result:
    fields: dict[str, Any] = {
        "preset": "scenes", "defense": "mat", "attack": "joint", "config": {"steps": 10, "eps": 4 / 255}, "seed": 3,
        "data_hash": "d", "model_hash": "m", "image_ids": ["a", "b"], "caption_ids": ["a0", "a1", "b0"],
        "owner": [0, 0, 1], "image_rank": [0, 7], "caption_rank": [1, 0, 2], "similarity": [0.1, 1 / 3, -0.5],
        "linf": [4 / 255, 0.0], "changed_words": [1, 0, 2],
        "success": [False, True], "forwards": [11, 4], "backwards": [10, 3], "texts": [0, 7], "counts": {"stop word": 4},
        "flags": [Flag("random outputs", True, 0.0, 1e-6, "The same input gives the same output.")],
        "seconds": 1.5, "device": "cpu",
    }  # fmt: skip
    return Result(**(fields | changed))


def test_comes_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "mat" / "joint.json"
    write(result(), path)
    assert read(path) == result()


def test_same_result_same_bytes(tmp_path: Path) -> None:
    write(result(config={"b": 1, "a": {"d": 2, "c": 3}}), tmp_path / "one.json")
    write(result(config={"a": {"c": 3, "d": 2}, "b": 1}), tmp_path / "two.json")
    assert (tmp_path / "one.json").read_bytes() == (tmp_path / "two.json").read_bytes()
    write(result(seconds=9.0, config={"b": 1, "a": {"d": 2, "c": 3}}), tmp_path / "slow.json")
    lines = zip(*((tmp_path / f"{n}.json").read_text().splitlines() for n in ("one", "slow")), strict=True)
    assert [a for a, b in lines if a != b] == ['"seconds": 1.5,']


def test_another_schema_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "joint.json"
    write(replace(result(), schema=1), path)
    with pytest.raises(ResultError, match=r"joint\.json has schema 1, this version reads 2; evaluate again"):
        read(path)


def test_what_is_not_a_result_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "joint.json"
    with pytest.raises(ResultError, match="does not exist; run the stage evaluate"):
        read(path)
    path.write_text("{")
    with pytest.raises(ResultError, match="is not JSON"):
        read(path)
    write(result(), path)
    path.write_text(json.dumps(json.loads(path.read_text()) | {"rank": 1}))
    with pytest.raises(ConfigurationError, match="rank"):
        read(path)


def test_examples_must_line_up() -> None:
    with pytest.raises(ValueError, match=r"'linf': 1"):
        result(linf=[0.0])
    with pytest.raises(ValueError, match=r"'owner': 2"):
        result(owner=[0, 1])
    with pytest.raises(ValueError, match=r"'texts': 1"):
        result(texts=[3])
    with pytest.raises(ValueError, match=r"'success': 1.*'image_ids': 2"):
        result(success=[True], forwards=[1], backwards=[1], texts=[1])
    assert result(success=[], forwards=[], backwards=[], texts=[]).success == []


def test_a_number_that_is_not_finite_is_not_written(tmp_path: Path) -> None:
    flag = Flag("gradients", False, float("inf"), 1.0, "Gradients are finite.")
    with pytest.raises(ResultError, match="flags, similarity is not finite"):
        write(result(similarity=[0.0, float("nan"), 0.0], flags=[flag]), tmp_path / "joint.json")
    assert not (tmp_path / "joint.json").exists()


def test_reads_a_whole_folder_without_the_sweeps(tmp_path: Path) -> None:
    with pytest.raises(ResultError, match="run the stage evaluate first"):
        read_all(tmp_path)
    sweep = Sweep("pgd", [0.0, 1 / 255], [90.0, 40.0], [80.0, 30.0])
    write(sweep, tmp_path / "mat" / "sweep.json")
    write(result(), tmp_path / "mat" / "joint.json")
    write(result(attack="clean"), tmp_path / "mat" / "clean.json")
    write(result(defense="tecoa"), tmp_path / "tecoa" / "joint.json")
    found = read_all(tmp_path)
    assert {d: sorted(by) for d, by in found.items()} == {"mat": ["clean", "joint"], "tecoa": ["joint"]}
    assert read_sweep(tmp_path / "mat" / "sweep.json") == sweep
