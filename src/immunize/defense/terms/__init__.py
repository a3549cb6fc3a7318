"""The terms a loss is a sum of: what each asks of the embeddings, which it looks at, and how much it weighs.

A term is a value, `term(views) -> scalar`, mean over the batch unless it says otherwise, without its weight; `looks` names
its views. Gradients go through the student's embeddings alone.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from immunize.defense.terms.anchor import Anchor
from immunize.defense.terms.attention import Attention
from immunize.defense.terms.consistency import Consistency
from immunize.defense.terms.contrast import Contrast
from immunize.defense.terms.divergence import Divergence
from immunize.defense.terms.fused import Fused
from immunize.defense.terms.triplet import Triplet

Term = Annotated[
    Contrast | Consistency | Anchor | Divergence | Attention | Triplet | Fused, Field(discriminator="kind")
]

__all__ = ["Anchor", "Attention", "Consistency", "Contrast", "Divergence", "Fused", "Term", "Triplet"]
