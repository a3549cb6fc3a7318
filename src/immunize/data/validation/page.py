"""The verdict as one HTML page without anything from elsewhere."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any


def page(success: bool, expectations: Mapping[str, Mapping[str, Any]], statistics: Mapping[str, Any]) -> str:
    """validation.html: the verdict, each expectation with the rows that fail it, the numbers; no clock in it."""
    from jinja2 import Environment, StrictUndefined

    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name("page.html").read_text(encoding="utf-8"))
    order = sorted(expectations.items(), key=lambda item: (item[1]["success"], item[1]["severity"], item[0]))
    return template.render(success=success, expectations=order, statistics=statistics)
