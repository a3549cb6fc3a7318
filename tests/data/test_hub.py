"""load_dataset on local parquet folders that have the features of the public data sets."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Pillow

from immunize.config import parse
from immunize.data import Hub, Source

TEXT = Value("string")
FLICKR30K = {"image": Image(), "caption": List(TEXT), "sentids": List(TEXT), "split": TEXT, "img_id": TEXT}
SENTENCE = {"raw": TEXT, "sentid": Value("int32")}
COCO = {"image": Image(), "cocoid": Value("int32"), "split": TEXT, "sentences": SENTENCE}
ANSWER = {"answer": TEXT, "answer_confidence": TEXT, "answer_id": Value("int64")}
VQAV2 = {
    "image": Image(),
    "image_id": Value("int64"),
    "question_id": Value("int64"),
    "question": TEXT,
    "multiple_choice_answer": TEXT,
    "answers": List(ANSWER),
}


def png(level: int) -> dict[str, Any]:
    buffer = io.BytesIO()
    Pillow.new("RGB", (9, 9), (level, 0, 0)).save(buffer, "PNG")
    return {"bytes": buffer.getvalue(), "path": None}


def save(folder: Path, split: str, features: dict[str, Any], rows: list[dict[str, Any]]) -> None:
    folder.mkdir(exist_ok=True)
    Dataset.from_list(rows, features=Features(features)).to_parquet(folder / f"{split}-00000-of-00001.parquet")


def hub(folder: Path, layout: str, **more: Any) -> Hub:
    return parse({"kind": "hub", "name": str(folder), "layout": layout, **more}, Source, "test")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "cache")


def test_flickr30k_takes_the_karpathy_split_of_its_column(tmp_path: Path) -> None:
    rows = [
        {"image": png(k), "caption": ["one", "two"], "sentids": ["0", "1"], "split": split, "img_id": str(k)}
        for k, split in enumerate(["train", "val", "test", "odd"])
    ]
    save(tmp_path / "f", "test", FLICKR30K, rows)
    records = list(hub(tmp_path / "f", "flickr30k", splits=["test"]).records())
    assert [(r.image_id, r.split) for r in records] == [
        ("0", "train"),
        ("1", "validation"),
        ("2", "test"),
        ("3", "odd"),
    ]
    assert records[0].captions == ["one", "two"] and records[0].image == png(0)["bytes"]


def test_coco_joins_the_rows_of_an_image_and_trains_on_restval(tmp_path: Path) -> None:
    rows = [
        {"image": png(k), "cocoid": k, "split": "restval", "sentences": {"raw": f"{k} {n}", "sentid": n}}
        for k in (7, 8)
        for n in range(3)
    ]
    save(tmp_path / "c", "train", COCO, rows)
    records = list(hub(tmp_path / "c", "coco", splits=["train"]).records())
    assert [(r.image_id, r.split, r.captions) for r in records] == [
        ("7", "train", ["7 0", "7 1", "7 2"]),
        ("8", "train", ["8 0", "8 1", "8 2"]),
    ]


def test_coco_as_lists_of_sentences_and_another_id(tmp_path: Path) -> None:
    features = {"image": Image(), "id": TEXT, "sentences": List(SENTENCE)}
    rows = [{"image": png(1), "id": "x", "sentences": [{"raw": "one", "sentid": 0}, {"raw": "two", "sentid": 1}]}]
    save(tmp_path / "c", "validation", features, rows)
    columns = {"image": "image", "image_id": "id", "captions": "sentences.raw"}
    (record,) = hub(tmp_path / "c", "coco", columns=columns, splits=["validation"]).records()
    assert (record.image_id, record.captions, record.split) == ("x", ["one", "two"], "validation")


def test_vqa_puts_the_majority_answer_behind_the_question(tmp_path: Path) -> None:
    def answers(*words: str) -> list[dict[str, Any]]:
        return [{"answer": word, "answer_confidence": "yes", "answer_id": k} for k, word in enumerate(words)]

    rows = [
        {
            "question": "What?",
            "multiple_choice_answer": "tea",
            "answers": answers("milk", "milk", "tea"),
            "question_id": 10,
        },
        {"question": "Who?", "multiple_choice_answer": None, "answers": answers("I", "you", "you"), "question_id": 11},
        {"question": "Why?", "multiple_choice_answer": None, "answers": None, "question_id": 12},
    ]
    save(tmp_path / "v", "validation", VQAV2, [row | {"image": png(0), "image_id": 1} for row in rows])
    (record,) = hub(tmp_path / "v", "vqav2", splits=["validation"]).records()
    assert record.captions == ["What? tea", "Who? you", None]
    assert record.caption_facts is not None
    assert record.caption_facts[1] == {"id": "11", "question": "Who?", "answer": "you", "answers": ["I", "you", "you"]}


def test_a_limit_counts_images_and_a_broken_picture_is_no_crash(tmp_path: Path) -> None:
    rows = [
        {"image": {"bytes": b"broken", "path": None}, "caption": ["c"], "sentids": [], "split": "train"} for _ in "abc"
    ]
    save(tmp_path / "f", "train", FLICKR30K, [row | {"img_id": str(k)} for k, row in enumerate(rows)])
    records = list(hub(tmp_path / "f", "flickr30k", splits=["train"], limit=2).records())
    assert [record.image for record in records] == [b"broken", b"broken"]


def test_a_missing_column_is_named(tmp_path: Path) -> None:
    save(
        tmp_path / "f", "train", FLICKR30K, [{"image": png(0), "caption": [], "sentids": [], "split": "", "img_id": ""}]
    )
    with pytest.raises(ValueError, match=r"has no column \['cocoid', 'sentences'\].*set columns"):
        list(hub(tmp_path / "f", "coco", splits=["train"]).records())
