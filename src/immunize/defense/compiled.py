"""The vision tower behind torch.compile while it trains: the same weights under the same names."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from immunize.models import Clip


@contextmanager
def compiled(model: Clip, wanted: bool = True, backend: str = "inductor") -> Iterator[None]:
    """f compiled in place, afterwards as it was.

    Not g: each distinct beginning of a batch's texts is computed once (ADR 11), so its shapes are new at every step.
    """
    if not wanted:
        yield
        return
    tower = model.net.visual
    tower.compile(backend=backend)
    try:
        yield
    finally:
        tower._compiled_call_impl = None
