"""Bad input: one line on stderr, exit code 2, no traceback."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

LONGEST = 600  # a weights file that does not fit lists every tensor of the model


@contextmanager
def one_line() -> Iterator[None]:
    """Whatever goes wrong while input is read is told in one line; torch, YAML, parquet and DVC share no ancestor."""
    try:
        yield
    except typer.Exit:
        raise
    except Exception as error:
        message = " ".join(str(error).split())
        stop(
            message if isinstance(error, ValueError | OSError | RuntimeError) else f"{type(error).__name__}: {message}"
        )


def stop(message: str) -> NoReturn:
    """Say what is wrong and end with exit code 2."""
    short = message if len(message) <= LONGEST else f"{message[:LONGEST]}..."
    typer.echo(f"immunize: {short}", err=True)
    raise typer.Exit(2)
