"""Tables -> verdict: every expectation run by Great Expectations in memory, with the rows that fail."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from immunize.data.validation import measure
from immunize.data.validation.expectations import Expectation, Thresholds, of_files, of_tables
from immunize.data.validation.page import page

_EXAMPLES = 20
_KEYS = {"pairs": "caption_id", "images": "image_id", "held_out": "image_id"}


class ValidationFailed(RuntimeError):
    """A critical expectation does not hold."""


@dataclass(frozen=True, slots=True)
class Outcome:
    """One expectation's result: `unexpected` of `checked` rows fail it; `examples` are "id: value" of the first."""

    name: str
    severity: str
    says: str
    success: bool
    checked: int
    unexpected: int
    examples: tuple[str, ...]


def validate(folder: Path, out: Path, limits: Thresholds) -> list[Outcome]:
    """Check the tables in `folder`, write validation.json and validation.html in `out`: same tables, same bytes.

    Raises ValidationFailed, after having written both, with the failing rows of each critical expectation that fails,
    and ValueError where `limits.warnings` names no expectation.
    """
    known = {e.name for e in of_files() + of_tables(limits, "")}
    if unknown := sorted(set(limits.warnings) - known):
        raise ValueError(f"validate.warnings names {unknown}; there are {sorted(known)}")
    outcomes = run({"files": measure.files(folder)}, of_files(), limits.warnings)
    statistics: dict[str, Any] = {}
    if outcomes[0].success:
        tables = _tables(folder, limits)
        side = f"{limits.size}x{limits.size}" if limits.size else str(tables["images"]["side"].mode().min())
        outcomes += run(tables, of_tables(limits, side), limits.warnings)
        statistics = _statistics(tables, folder)
    _write(out, outcomes, statistics)
    failed = [o for o in outcomes if not o.success and o.severity == "critical"]
    if failed:
        lines = "\n".join(f"  {o.name} ({o.says}): {o.unexpected} rows, {'; '.join(o.examples)}" for o in failed)
        raise ValidationFailed(f"{len(failed)} critical expectations fail for {folder}, see {out}:\n{lines}")
    return outcomes


def run(
    tables: Mapping[str, pd.DataFrame], expectations: list[Expectation], warnings: tuple[str, ...]
) -> list[Outcome]:
    """Each expectation against its table, in the order given."""
    import great_expectations as gx  # three seconds, and telemetry-free only in memory: nobody else pays for it
    from great_expectations.data_context.types.base import ProgressBarsConfig

    context = gx.get_context(mode="ephemeral")
    context.variables.progress_bars = ProgressBarsConfig(globally=False)
    source = context.data_sources.add_pandas("memory")
    found: dict[str, Outcome] = {}
    for name, frame in tables.items():
        asked = [e for e in expectations if e.table == name]
        whole = source.add_dataframe_asset(name).add_batch_definition_whole_dataframe("all")
        key = _KEYS.get(name, "id")
        suite = gx.ExpectationSuite(name=name, expectations=[_native(e) for e in asked])
        detail = {"result_format": "COMPLETE", "unexpected_index_column_names": [key]}
        answers: list[Any] = whole.get_batch({"dataframe": frame}).validate(suite, result_format=detail).results
        by_name = {answer.expectation_config.meta["name"]: answer for answer in answers}
        found |= {e.name: _outcome(e, by_name[e.name], key, e.name in warnings) for e in asked}
    return [found[e.name] for e in expectations]


def _native(expectation: Expectation) -> Any:
    import great_expectations.expectations as gxe

    kind = getattr(gxe, expectation.kind)
    return kind(column=expectation.column, meta={"name": expectation.name}, **expectation.arguments)


def _outcome(expectation: Expectation, answer: Any, key: str, warning: bool) -> Outcome:
    if "element_count" not in answer.result:
        raise RuntimeError(f"{expectation.name} could not be evaluated: {answer.exception_info}")
    rows = answer.result.get("unexpected_index_list") or []
    return Outcome(
        name=expectation.name,
        severity="warning" if warning else "critical",
        says=expectation.says,
        success=bool(answer.success),
        checked=int(answer.result["element_count"]),
        unexpected=len(rows),
        examples=tuple(_example(row[key], row[expectation.column]) for row in rows[:_EXAMPLES]),
    )


def _example(row: object, value: object) -> str:
    return f"{row}" if isinstance(value, bool | np.bool_) else f"{row}: {value}"


def _tables(folder: Path, limits: Thresholds) -> dict[str, pd.DataFrame]:
    images = measure.images(folder, limits.near_duplicate_bits, limits.near_duplicate_levels)
    pairs = measure.pairs(folder, images)
    images["captions"] = images["image_id"].map(pairs["image_id"].value_counts()).fillna(0).astype(int)
    return {
        "pairs": pairs,
        "images": images,
        "held_out": images[images["split"] != "train"].reset_index(drop=True),
        "splits": measure.splits(images, limits.images),
        "shares": measure.shares(folder, images, pairs),
    }


def _statistics(tables: Mapping[str, pd.DataFrame], folder: Path) -> dict[str, Any]:
    """Numbers worth following from commit to commit."""
    pairs, images = tables["pairs"], tables["images"]
    words = [caption.split() for caption in pairs["caption"].fillna("")]
    rejected = pq.read_table(folder / "rejected.parquet", columns=["reason"]).to_pandas()["reason"]
    return {
        "images": {str(k): int(v) for k, v in images["split"].value_counts().items()},
        "captions": {str(k): int(v) for k, v in pairs["split"].value_counts().items()},
        "rejected": {str(k): int(v) for k, v in rejected.value_counts().items()},
        "words_per_caption": round(sum(map(len, words)) / max(len(words), 1), 2),
        "vocabulary": len({word.lower() for caption in words for word in caption}),
        "repeated_captions": round(float(pairs["repeat"].mean()), 5),
        "image_std": round(float(images["std"].mean()), 2),
    }


def _write(out: Path, outcomes: list[Outcome], statistics: Mapping[str, Any]) -> None:
    success = all(o.success or o.severity == "warning" for o in outcomes)
    expectations = {o.name: {k: v for k, v in asdict(o).items() if k != "name"} for o in outcomes}
    record = {"success": success, "statistics": statistics, "expectations": expectations}
    out.mkdir(parents=True, exist_ok=True)
    (out / "validation.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    (out / "validation.html").write_text(page(success, expectations, statistics), encoding="utf-8")
