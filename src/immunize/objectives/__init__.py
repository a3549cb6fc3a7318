"""What an attack maximizes and training minimizes: pure, one value a pair, bigger is better for the attacker."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Literal

from jaxtyping import Float, Int
from torch import Tensor

from immunize.batch import Embedding
from immunize.objectives.consistency import away, consistency
from immunize.objectives.contrastive import infonce

Scale = Float[Tensor, ""]
Objective = Callable[[Embedding, Embedding, Int[Tensor, " c"], Scale], Float[Tensor, " c"]]
Name = Literal["away", "consistency", "infonce"]

OBJECTIVES: Mapping[Name, Objective] = {"away": away, "consistency": consistency, "infonce": infonce}

__all__ = ["OBJECTIVES", "Name", "Objective", "away", "consistency", "infonce"]
