"""One system under every adaptive attack: who fell, item by item, the worst of all, and the reasons to distrust it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from pathlib import Path

import torch
from torch import Generator

from immunize.batch import Batch
from immunize.config import frozen
from immunize.data.loader import Pairs
from immunize.evaluation.adaptive.sanity import Probe, distrust
from immunize.evaluation.adaptive.system import Known, System
from immunize.evaluation.adaptive.target import paired
from immunize.evaluation.adaptive.verdict import Row, Share, joined, served, worst
from immunize.evaluation.results import Flag, write

CLEAN, WORST = "clean", "worst"
Adaptive = Callable[[System, Batch, Generator], Mapping[str, Batch]]


@frozen
class Table:
    """Item by item what each attack did, `clean` first and `worst` last, which is the union of all, clean included."""

    actions: tuple[str, ...]
    threshold: float | None
    seed: int
    image_ids: list[str]
    rows: dict[str, Row]
    flags: list[Flag]

    @property
    def attack_success(self) -> Share:
        """Wrong and not flagged under at least one attack, or as it came."""
        return Share.of(self.rows[WORST].success)

    @property
    def right_or_flagged(self) -> Share:
        """The primary figure: items that no attack got a wrong and unflagged answer for."""
        return Share.of([not hit for hit in self.rows[WORST].success])

    @property
    def robust_accuracy(self) -> Share:
        """The plain figure, flags left aside: items that no attack got a wrong answer for."""
        return Share.of([not wrong for wrong in self.rows[WORST].wrong])

    @property
    def clean_accuracy(self) -> Share:
        """Items answered rightly as they came, flags left aside."""
        return Share.of([not wrong for wrong in self.rows[CLEAN].wrong])

    @property
    def false_positives(self) -> Share:
        """Items flagged as they came."""
        return Share.of([not passed for passed in self.rows[CLEAN].unflagged])

    def lines(self) -> list[str]:
        """The table to print: success, success in any of the draws, wrong, missed by the detector, in percent."""
        head = f"{'attack':24}{'success':>22}{'any draw':>10}{'mean rate':>11}{'wrong':>8}{'unflagged':>11}"
        return [head, *(self._line(name, row) for name, row in self.rows.items())]

    def write(self, path: Path) -> None:
        """One line a field, keys sorted, as any result."""
        write(self, path)

    def _line(self, name: str, row: Row) -> str:
        done, ever, wrong, missed = (Share.of(hits) for hits in (row.success, row.ever, row.wrong, row.unflagged))
        interval = f"{done.percent:.1f} [{done.low:.1f}, {done.high:.1f}]"
        rate = 100 * sum(row.rate) / len(row.rate)
        return f"{name:24}{interval:>22}{ever.percent:>10.1f}{rate:>11.1f}{wrong.percent:>8.1f}{missed.percent:>11.1f}"


def evaluate(
    system: System,
    data: Batch | Pairs,
    attacks: Mapping[str, Adaptive],
    *,
    seed: int = 0,
    block: int = 100,
    draws: int = 1,
    probe: Probe | None = None,
) -> Table:
    """Each attack on every pair, `block` at a time, each candidate served `draws` times; then the flags of `probe`.

    A pair is an image with the first of its captions, ranked against those of the others and the gallery (a sample:
    `pairs.batch(index, whole=True)`). All attacks start from the clean pairs and from `seed`. draws: 20 for a random
    system, whose clean row is then the control for what many servings do by themselves. probe: None asks for no flag.
    Raises ValueError where there is no pair, or where an attack bears the name of a row that is made here.
    """
    if {CLEAN, WORST} & attacks.keys():
        raise ValueError(f"attacks: {CLEAN!r} and {WORST!r} are rows of the table, call yours something else")
    known = Known(system)
    batch = _pairs(data).to(known.under(known.actions[0]).device)
    if not len(batch):
        raise ValueError("no pair to attack: the data is empty")
    rows: dict[str, list[Row]] = {name: [] for name in (CLEAN, *attacks)}
    everyone = torch.arange(len(batch), device=batch.images.device)

    for index in everyone.split(block):
        part = batch.take(index) if len(index) < len(batch) else batch
        rows[CLEAN].append(served(known, {CLEAN: part}, draws))
        for name, attack in attacks.items():
            start = time.perf_counter()
            found = attack(known, part, Generator().manual_seed(seed))
            rows[name].append(served(known, found, draws, time.perf_counter() - start))
    table = {name: joined(parts) for name, parts in rows.items()}
    finite = known.threshold if abs(known.threshold) < float("inf") else None
    return Table(
        actions=known.actions,
        threshold=finite,
        seed=seed,
        image_ids=list(batch.image_ids),
        rows={**table, WORST: worst(table.values())},
        flags=[] if probe is None else distrust(known, batch, probe, seed=seed),
    )


def _pairs(data: Batch | Pairs) -> Batch:
    return paired(data if isinstance(data, Batch) else data.batch(torch.arange(len(data))))
