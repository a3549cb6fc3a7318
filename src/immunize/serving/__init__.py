"""Defenses that act when a model is asked, its weights as they are: `defense.around(model)` is a model like any other.

Each is a value with a `kind`; `twin()` is the same defense with gradients that reach the pixels, for whoever attacks it;
`passes` is what an image costs. A wrapped model's embeddings are unit vectors, the same for the same input, in whatever
company; the model's weights, its flags and the global random state are left alone.
"""

from immunize.serving.compose import Serving, Then
from immunize.serving.counterattack import Counterattack
from immunize.serving.denoise import Denoise
from immunize.serving.ensemble import Ensemble
from immunize.serving.interpolated import Interpolated
from immunize.serving.none import Undefended
from immunize.serving.purify import Blur, Jpeg, NoGradient, Quantize
from immunize.serving.views import Views

__all__ = [
    "Blur", "Counterattack", "Denoise", "Ensemble", "Interpolated", "Jpeg", "NoGradient", "Quantize", "Serving", "Then",
    "Undefended", "Views",
]  # fmt: skip
