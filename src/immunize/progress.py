"""Long work shows how far it is: a bar on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Record = dict[str, int | float]
EVERY = 10.0


def watch(records: Iterable[Record], total: int, label: str, unit: str = "steps") -> Iterator[Record]:
    """Pass the records on while showing `step` of `total`, the loss if there is one, units per second and the time left."""
    if sys.stderr.isatty():
        yield from _bar(records, total, label, unit)
    else:
        yield from _lines(records, total, label, unit)


def _bar(records: Iterable[Record], total: int, label: str, unit: str) -> Iterator[Record]:
    columns = (
        TextColumn(label),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[state]}"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as progress:
        task, start = progress.add_task(label, total=total, state=""), time.monotonic()
        for record in records:
            progress.update(task, completed=record["step"], state=_state(record, start, unit))
            yield record


def _lines(records: Iterable[Record], total: int, label: str, unit: str) -> Iterator[Record]:
    start = last = time.monotonic()
    for record in records:
        now = time.monotonic()
        if now - last >= EVERY or record["step"] == total:
            left = (now - start) / record["step"] * (total - record["step"])
            print(
                f"{label} {record['step']:.0f}/{total} {_state(record, start, unit)} {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            last = now
        yield record


def _state(record: Record, start: float, unit: str) -> str:
    rate = record["step"] / max(1e-9, time.monotonic() - start)
    loss = f"loss {record['loss']:.4f} " if "loss" in record else ""
    return f"{loss}{rate:.2f} {unit}/s"
