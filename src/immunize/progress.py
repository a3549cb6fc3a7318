"""Long work shows how far it is: a bar on a terminal, a line every ten seconds in a log."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

Record = dict[str, int | float]
EVERY = 10.0


def watch(records: Iterable[Record], total: int, label: str) -> Iterator[Record]:
    """Pass the records on while showing step, loss, steps per second and the time left; `step` counts up to `total`."""
    if sys.stderr.isatty():
        yield from _bar(records, total, label)
    else:
        yield from _lines(records, total, label)


def _bar(records: Iterable[Record], total: int, label: str) -> Iterator[Record]:
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
            progress.update(task, completed=record["step"], state=_state(record, start))
            yield record


def _lines(records: Iterable[Record], total: int, label: str) -> Iterator[Record]:
    start = last = time.monotonic()
    for record in records:
        now = time.monotonic()
        if now - last >= EVERY or record["step"] == total:
            left = (now - start) / record["step"] * (total - record["step"])
            print(
                f"{label} {record['step']:.0f}/{total} {_state(record, start)} {left:.0f} s left",
                file=sys.stderr,
                flush=True,
            )
            last = now
        yield record


def _state(record: Record, start: float) -> str:
    rate = record["step"] / max(1e-9, time.monotonic() - start)
    return f"loss {record['loss']:.4f} {rate:.2f} steps/s"
