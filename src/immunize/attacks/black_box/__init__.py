"""Attacks on the image by queries alone, or by what is known of the model in part."""

from immunize.attacks.black_box.estimated_gradient import EstimatedGradient
from immunize.attacks.black_box.genetic import Genetic
from immunize.attacks.black_box.hop_skip_jump import HopSkipJump
from immunize.attacks.black_box.one_pixel import OnePixel
from immunize.attacks.black_box.square import Square
from immunize.attacks.black_box.transfer import Transfer

BlackBoxAttack = Square | EstimatedGradient | HopSkipJump | Genetic | OnePixel | Transfer

__all__ = ["BlackBoxAttack", "EstimatedGradient", "Genetic", "HopSkipJump", "OnePixel", "Square", "Transfer"]
