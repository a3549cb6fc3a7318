"""White-box attacks on the image."""

from immunize.attacks.image.apgd import APGD
from immunize.attacks.image.auto import AutoAttack
from immunize.attacks.image.carlini_wagner import CarliniWagner
from immunize.attacks.image.de_jsma import DEJSMA
from immunize.attacks.image.deepfool import DeepFool
from immunize.attacks.image.fab import FAB
from immunize.attacks.image.fgsm import FGSM
from immunize.attacks.image.jsma import JSMA
from immunize.attacks.image.noise import Noise
from immunize.attacks.image.pgd import PGD
from immunize.attacks.image.universal import Universal

ImageAttack = Noise | FGSM | APGD | FAB | AutoAttack | PGD | DeepFool | CarliniWagner | JSMA | DEJSMA | Universal

__all__ = [
    "APGD", "DEJSMA", "FAB", "FGSM", "JSMA", "PGD", "AutoAttack", "CarliniWagner", "DeepFool", "ImageAttack", "Noise",
    "Universal",
]  # fmt: skip
