"""Where an attack may go: `Ball` for pixels, `Waveform` for sound, `Edits` for captions. The threat is not the attack."""

from immunize.threats.ball import Ball, Norm, Radius
from immunize.threats.edits import Edits
from immunize.threats.waveform import Waveform

__all__ = ["Ball", "Edits", "Norm", "Radius", "Waveform"]
