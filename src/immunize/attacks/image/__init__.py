"""White-box attacks on the image."""

from immunize.attacks.image.noise import Noise
from immunize.attacks.image.pgd import PGD

ImageAttack = Noise | PGD

__all__ = ["PGD", "ImageAttack", "Noise"]
