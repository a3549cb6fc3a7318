"""An imagefolder on disk: captions, holdout, and every way in which a line can be wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import TypeAdapter

from immunize.config import parse
from immunize.data import Folder, Source
from immunize.data.record import Record, Rejection


def write(root: Path, name: str, lines: list[object], images: tuple[str, ...] = ()) -> None:
    (root / name).mkdir(parents=True)
    text = "".join((line if isinstance(line, str) else json.dumps(line)) + "\n" for line in lines)
    (root / name / "metadata.jsonl").write_text(text)
    for image in images:
        (root / name / image).write_bytes(b"x")


def folder(root: Path, **more: object) -> Folder:
    return parse({"kind": "folder", "path": str(root), **more}, Source, "test")


def test_lines_become_records_in_order(tmp_path: Path) -> None:
    write(tmp_path, "a", [{"file_name": "x.jpg", "image_id": "X", "captions": ["one", "two"], "by": "me"}], ("x.jpg",))
    write(tmp_path, "b", [{"file_name": "y.png", "caption": "one"}, {"file_name": "z.png", "text": "one"}])
    assert list(folder(tmp_path, splits={"test": "b", "train": "a"}).records()) == [
        Record("y", tmp_path / "b" / "y.png", ["one"], "test", {"file_name": "y.png"}),
        Record("z", tmp_path / "b" / "z.png", ["one"], "test", {"file_name": "z.png"}),
        Record("X", tmp_path / "a" / "x.jpg", ["one", "two"], "train", {"file_name": "x.jpg", "by": "me"}),
    ]


def test_the_holdout_is_exact_stable_and_only_of_train(tmp_path: Path) -> None:
    lines = [{"file_name": f"{k}.jpg", "captions": ["c"]} for k in range(50)]
    write(tmp_path, "train", lines)
    write(tmp_path, "test", [{"file_name": "t.jpg", "captions": ["c"]}])
    source = folder(tmp_path, splits={"train": "train", "test": "test"}, holdout={"validation": 10})
    split = {record.image_id: record.split for record in source.records()}
    held = {image_id for image_id, name in split.items() if name == "validation"}
    assert len(held) == 10 and split["t"] == "test" and held != set(sorted(map(str, range(50)))[:10])
    (tmp_path / "train" / "metadata.jsonl").write_text("".join(json.dumps(line) + "\n" for line in reversed(lines)))
    assert held == {record.image_id for record in source.records() if record.split == "validation"}


def test_a_holdout_larger_than_train_is_an_error(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"file_name": "x.jpg", "captions": ["c"]}])
    with pytest.raises(ValueError, match=r"holdout .* wants more than the 1 training images"):
        list(folder(tmp_path, splits={"train": "train"}, holdout={"validation": 2}).records())


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{not json", "bad_metadata"),
        ("[1, 2]", "bad_metadata"),
        ({"captions": ["c"]}, "bad_metadata"),
        ({"file_name": None, "captions": ["c"]}, "bad_metadata"),
        ({"file_name": ["x.jpg"], "captions": ["c"]}, "bad_metadata"),
        ({"file_name": "x.jpg"}, "bad_metadata"),
        ({"file_name": "../x.jpg", "captions": ["c"]}, "outside_folder"),
        ({"file_name": "/x.jpg", "captions": ["c"]}, "outside_folder"),
    ],
)
def test_a_wrong_line_is_a_rejection(tmp_path: Path, line: object, reason: str) -> None:
    write(tmp_path, "train", [line, {"file_name": "y.jpg", "captions": ["c"]}], ("y.jpg",))
    first, second = folder(tmp_path, splits={"train": "train"}).records()
    assert isinstance(first, Rejection) and first.reason == reason
    assert isinstance(second, Record)


def test_an_image_without_a_line_is_listed(tmp_path: Path) -> None:
    write(tmp_path, "train", [{"file_name": "x.jpg", "captions": ["c"]}], ("x.jpg", "forgotten.JPG", "notes.txt"))
    _, forgotten = folder(tmp_path, splits={"train": "train"}).records()
    assert isinstance(forgotten, Rejection)
    assert (forgotten.image_id, forgotten.reason) == ("forgotten", "no_metadata")


def test_a_missing_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"metadata\.jsonl does not exist: .*check path and splits"):
        list(folder(tmp_path).records())


def test_the_union_names_what_it_knows() -> None:
    with pytest.raises(ValueError, match="'scenes', 'folder', 'hub'"):
        TypeAdapter(Source).validate_python({"kind": "folders", "path": "x"})
