"""A search over parameters: which trials there are, and what each of them is called and measured by."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import yaml
from pydantic import Field

from immunize.config import ConfigurationError, frozen, parse
from immunize.pipeline.overrides import Scalar

Values = Annotated[tuple[Scalar, ...], Field(min_length=1)]


@frozen
class Rungs:
    """Successive halving: `key` takes each of `values`, ascending, and the best 1 / `eta` of a rung go on to the next."""

    key: str
    values: Annotated[tuple[int, ...], Field(min_length=1)]
    eta: Annotated[int, Field(ge=2)] = 3

    def __post_init__(self) -> None:
        if list(self.values) != sorted(set(self.values)):
            raise ValueError("values: must rise from rung to rung")


@frozen
class Search:
    """sweeps/<name>.yaml: every combination of `grid`, each a DVC experiment of `stages` (all of them, if none is named).

    preset: whose keys `grid`, `fixed` and `rungs` name. measures: name -> the numbers of its metrics.json, such as
    `mat.worst.tr_r1`, whose mean it is, all the higher the better; the first of them ranks the trials.
    """

    preset: str
    grid: Annotated[dict[str, Values], Field(min_length=1)]
    measures: Annotated[dict[str, tuple[str, ...]], Field(min_length=1)]
    fixed: dict[str, Scalar] = field(default_factory=dict)
    stages: tuple[str, ...] = ()
    rungs: Rungs | None = None

    @property
    def file(self) -> str:
        """The parameters file of the preset."""
        return f"presets/{self.preset}.yaml"

    @property
    def metrics(self) -> str:
        """The file that a trial is measured by."""
        return f"reports/{self.preset}/metrics.json"

    def points(self) -> Iterator[dict[str, Scalar]]:
        """Every combination of the grid, the last key changing fastest."""
        for values in product(*self.grid.values()):
            yield dict(zip(self.grid, values))


@dataclass(frozen=True, slots=True)
class Trial:
    """One point of the grid at one rung; `values` are all that is set, `fixed` and the rung's included."""

    search: str
    point: tuple[tuple[str, Scalar], ...]
    rung: int
    values: tuple[tuple[str, Scalar], ...]

    @property
    def name(self) -> str:
        """The same for the same values, whatever else the search holds: a grown grid keeps what was tried."""
        told = json.dumps(sorted(self.values), sort_keys=True)
        return f"{self.search}-{hashlib.blake2b(told.encode(), digest_size=4).hexdigest()}"


def trial(name: str, search: Search, point: Mapping[str, Scalar], rung: int) -> Trial:
    """The trial of a point at a rung."""
    step = {} if search.rungs is None else {search.rungs.key: search.rungs.values[rung]}
    values = {**search.fixed, **point, **step}
    return Trial(name, tuple(point.items()), rung, tuple(values.items()))


def read(path: Path) -> Search:
    """The search in `path`; raises ConfigurationError naming the file and the key."""
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigurationError(f"{path} does not exist; there are {known}")
    return parse(yaml.safe_load(path.read_text()), Search, str(path))


def measured(search: Search, metrics: Any) -> dict[str, float]:
    """Each measure of the search in a metrics file that has been read; raises ConfigurationError naming a missing number."""
    return {
        name: fmean(_number(metrics, key, search.metrics) for key in keys) for name, keys in search.measures.items()
    }


def _number(metrics: Any, key: str, file: str) -> float:
    node = metrics
    for part in key.split("."):
        if not isinstance(node, dict) or part not in node:
            known = sorted(node) if isinstance(node, dict) else node
            raise ConfigurationError(f"measures: {file} has no {key}: no '{part}' among {known}")
        node = node[part]
    return float(node)
