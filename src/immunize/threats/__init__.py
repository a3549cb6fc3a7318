"""Where an attack may go: `Ball` for pixels, `Edits` for captions. The threat is not the attack."""

from immunize.threats.ball import Ball, Radius
from immunize.threats.edits import Edits

__all__ = ["Ball", "Edits", "Radius"]
