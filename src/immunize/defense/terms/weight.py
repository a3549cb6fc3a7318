"""How much a term counts in the sum."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

Weight = Annotated[float, Field(gt=0)]
