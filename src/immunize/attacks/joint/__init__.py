"""Attacks on image and text together."""

from immunize.attacks.joint.sga import SGA

JointAttack = SGA

__all__ = ["SGA", "JointAttack"]
