"""Data sets of the Hugging Face hub: Flickr30k and COCO captions with their Karpathy splits, and VQA v2."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby, islice
from typing import Annotated, Any, Literal

from pydantic import Field

from immunize.config import frozen
from immunize.data.record import Record

# The words that public copies use for the three splits; COCO's `restval` is trained on by every Karpathy-split paper.
_SPLITS = {"train": "train", "restval": "train", "val": "validation", "validation": "validation", "test": "test"}


@frozen
class Columns:
    """Names of columns; a dot goes into a structure (`sentences.raw`), also through a list of them; None: no column."""

    image: str
    image_id: str
    captions: str
    split: str | None = None
    answer: str | None = None
    answers: str | None = None
    caption_id: str | None = None


LAYOUTS: Mapping[str, Columns] = {
    "flickr30k": Columns("image", "img_id", "caption", split="split"),
    "coco": Columns("image", "cocoid", "sentences.raw", split="split"),
    "vqav2": Columns(
        "image",
        "image_id",
        "question",
        answer="multiple_choice_answer",
        answers="answers.answer",
        caption_id="question_id",
    ),
}


@frozen
class Hub:
    """`datasets.load_dataset(name, config, revision=revision)`, streamed; `name` may be a local folder of parquet.

    `columns` overrides those of the `layout`. Where there is a split column (Karpathy: train, restval, val, test) it
    decides; else the data set's own split does. `splits` names the data set's splits to read, `limit` stops after n
    images of each. Rows of one image must follow each other (one row a sentence or a question); a later return is a
    duplicate id. In the layout `vqav2` a caption is the question with the majority answer behind it ("What color is
    it? blue"), true of the image as a caption is; question, answer and all ten answers are the caption's facts.
    """

    name: str
    layout: Literal["flickr30k", "coco", "vqav2"]
    config: str | None = None
    revision: str | None = None
    splits: tuple[str, ...] = ("train", "validation", "test")
    columns: Columns | None = None
    limit: Annotated[int, Field(ge=1)] | None = None
    kind: Literal["hub"] = "hub"

    def records(self) -> Iterator[Record]:
        """Records in the data set's order; raises ValueError that lists the columns where one is missing."""
        columns = self.columns or LAYOUTS[self.layout]
        for split in self.splits:
            groups = groupby(self._rows(split, columns), key=lambda row: str(_get(row, columns.image_id)))
            yield from (_record(list(rows), columns, split) for _, rows in islice(groups, self.limit))

    def _rows(self, split: str, columns: Columns) -> Iterator[Mapping[str, Any]]:
        from datasets import Image, load_dataset  # half a second that the other sources need not pay

        data = load_dataset(self.name, self.config, split=split, revision=self.revision, streaming=True)
        wanted = [name.split(".")[0] for name in _names(columns)]
        missing = sorted(set(wanted) - set(data.column_names or wanted))
        if missing:
            raise ValueError(f"{self.name} has no column {missing}, only {data.column_names}: set columns")
        yield from data.cast_column(columns.image, Image(decode=False))


def _names(columns: Columns) -> list[str]:
    optional = (columns.split, columns.answer, columns.answers, columns.caption_id)
    return [columns.image, columns.image_id, columns.captions, *(name for name in optional if name)]


def _get(value: Any, path: str | None) -> Any:
    """The value at a dotted path, through lists; None where there is no path or nothing at it."""
    if path is None:
        return None
    for step in path.split("."):
        if isinstance(value, list):
            value = [item[step] for item in value]
        elif value is not None:
            value = value[step]
    return value


def _record(rows: Sequence[Mapping[str, Any]], columns: Columns, split: str) -> Record:
    first = rows[0]
    image = _get(first, columns.image) or {}
    named = str(_get(first, columns.split) or split)
    pairs = [pair for row in rows for pair in _captions(row, columns)]
    return Record(
        image_id=str(_get(first, columns.image_id)),
        image=image.get("bytes") or b"",
        captions=[caption for caption, _ in pairs],
        split=_SPLITS.get(named, named),
        caption_facts=[facts for _, facts in pairs],
    )


def _captions(row: Mapping[str, Any], columns: Columns) -> list[tuple[object, dict[str, Any]]]:
    texts = _get(row, columns.captions)
    identity = {} if columns.caption_id is None else {"id": str(_get(row, columns.caption_id))}
    if columns.answers is None:
        return [(text, dict(identity)) for text in (texts if isinstance(texts, list) else [texts])]
    answers = _get(row, columns.answers) or []
    majority = _get(row, columns.answer) or next((word for word, _ in Counter(answers).most_common(1)), None)
    facts = identity | {"question": texts, "answer": majority, "answers": answers}
    # A question without an answer (the hidden test split) says nothing of the image: None is rejected, and listed.
    return [(None if majority is None else f"{texts} {majority}", facts)]
