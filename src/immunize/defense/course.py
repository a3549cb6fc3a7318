"""What each step trains on: the same method all along, or another for each stretch (`defense.steered`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol, runtime_checkable

from immunize.config import dump
from immunize.defense.method import Method
from immunize.models import Clip

Record = dict[str, int | float]


@runtime_checkable
class Course(Protocol):
    """`method` holds for all steps, but for what `at` changes: the inner attack, and the weights of the terms.

    `at` is asked before each step, in order, with the records so far; `told` goes into the next record, from which `at`
    goes on where a run was interrupted. `said` is all that determines the course.
    """

    @property
    def method(self) -> Method: ...

    @property
    def said(self) -> Any: ...

    def at(self, step: int, model: Clip, records: Sequence[Record]) -> Method: ...

    def told(self) -> Record: ...


@dataclass(frozen=True, slots=True)
class Steady:
    """One method."""

    method: Method

    @property
    def said(self) -> Any:
        return dump(self.method)

    def at(self, step: int, model: Clip, records: Sequence[Record]) -> Method:
        return self.method

    def told(self) -> Record:
        return {}
