"""Values set in a parameters file, the rest of the file left as its author wrote it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from io import StringIO
from typing import Any

from ruamel.yaml import YAML

from immunize.config import ConfigurationError

Scalar = bool | int | float | str


def overridden(text: str, values: Mapping[str, Scalar]) -> str:
    """The YAML `text` with `values`, {"immunize.mat.training.lr": 1e-3, "immunize.mat.method.outer.0.weight": 0.5}.

    `*` in a key is every entry there: "immunize.*.training.seed". Comments, order and anchors stay, but a value that is reached
    through an alias is set there alone, not wherever the anchor is used. Raises ConfigurationError naming a key that the file
    has not: a misspelt one would be a trial of nothing.
    """
    yaml = YAML()
    yaml.width, yaml.preserve_quotes = 4096, True
    yaml.indent(mapping=2, sequence=4, offset=2)
    tree = yaml.load(text)
    for key, value in values.items():
        for path in _paths(tree, key.split("."), key):
            _set(tree, path, value)
    out = StringIO()
    yaml.dump(tree, out)
    return out.getvalue()


def _paths(node: Any, parts: Sequence[str], key: str) -> list[tuple[int | str, ...]]:
    """The places that the key names, one unless it has a `*`."""
    if not parts:
        return [()]
    first, *others = parts
    every = [*(node if isinstance(node, dict) else range(len(node)))] if first == "*" and node else []
    places = every or [_place(node, first, key)]
    return [(place, *rest) for place in places for rest in _paths(node[place], others, key)]


def _set(tree: Any, path: Sequence[int | str], value: Scalar) -> None:
    shared = Counter(_containers(tree))
    node = tree
    for place in path[:-1]:
        if shared[id(node[place])] > 1:
            node[place] = deepcopy(node[place])
            node[place].anchor.value = None
        node = node[place]
    node[path[-1]] = value


def _place(node: Any, part: str, key: str) -> int | str:
    if isinstance(node, list) and part.isdigit() and int(part) < len(node):
        return int(part)
    if isinstance(node, dict) and part in node:
        return part
    known = sorted(node) if isinstance(node, dict) else f"{len(node)} entries" if isinstance(node, list) else node
    raise ConfigurationError(f"{key}: no '{part}' here; there is {known}")


def _containers(node: Any) -> Iterator[int]:
    """The identity of every mapping and list, as often as something refers to it."""
    for child in node.values() if isinstance(node, dict) else node if isinstance(node, list) else ():
        if isinstance(child, dict | list):
            yield id(child)
            yield from _containers(child)
