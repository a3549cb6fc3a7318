"""Attacks on image and text together."""

from immunize.attacks.joint.cmi import CMI
from immunize.attacks.joint.co_attack import CoAttack
from immunize.attacks.joint.dra import DRA
from immunize.attacks.joint.sa_aet import SAAET
from immunize.attacks.joint.sep_attack import SepAttack
from immunize.attacks.joint.sga import SGA
from immunize.attacks.joint.simultaneous import Simultaneous

JointAttack = SGA | SepAttack | CoAttack | DRA | SAAET | CMI | Simultaneous

__all__ = ["CMI", "DRA", "SAAET", "SGA", "CoAttack", "JointAttack", "SepAttack", "Simultaneous"]
