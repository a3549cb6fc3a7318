"""From the preset's YAML to typed, frozen objects: knows how to read, not what is read."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import GenericAlias
from typing import Any, TypeVar, dataclass_transform

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

T = TypeVar("T")


class ConfigurationError(ValueError):
    """A key of a preset is missing, unknown or out of range; the message names the file and the key."""


@dataclass_transform(frozen_default=True)
def frozen(cls: type[T]) -> type[T]:
    """A plain frozen dataclass that YAML may fill, and that refuses unknown keys."""
    cls.__pydantic_config__ = {"extra": "forbid"}  # type: ignore[attr-defined]
    return dataclass(frozen=True, slots=True)(cls)


def preset(root: Path = Path(".")) -> str:
    """The name under `preset:` in params.yaml: it chooses the file in presets/ and the folders of every output."""
    return _read(root / "params.yaml", "preset")


def load(section: str, type_: type[T] | GenericAlias, root: Path = Path(".")) -> T:
    """The section of the current preset as a `type_`; raises ConfigurationError that names the key."""
    path = root / "presets" / f"{preset(root)}.yaml"
    return parse(_read(path, section), type_, f"{path}: {section}")


def parse(value: Any, type_: Any, where: str) -> Any:
    """`value` as a `type_`; raises ConfigurationError naming `where` and each key that is wrong."""
    try:
        return TypeAdapter(type_).validate_python(value)
    except ValidationError as error:
        wrong = "; ".join(map(_told, error.errors()))
        raise ConfigurationError(f"{where}: {wrong}") from None


def dump(value: Any) -> Any:
    """The object as plain JSON data, the inverse of `parse`."""
    return TypeAdapter(type(value)).dump_python(value, mode="json")


def _told(error: ErrorDetails) -> str:
    """Where in the section, unless it is about the whole of it, and what."""
    what = error["msg"].removeprefix("Value error, ")
    return f"{'.'.join(map(str, error['loc']))}: {what}" if error["loc"] else what


def _read(path: Path, key: str) -> Any:
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigurationError(f"{path} does not exist; here are {known or os.listdir(path.parent)}")
    data = yaml.safe_load(path.read_text()) or {}
    if key not in data:
        raise ConfigurationError(f"{path} has no '{key}'; it has {sorted(data)}")
    return data[key]
