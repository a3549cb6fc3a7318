"""An attack on what the attacker has of the model, judged on the model itself."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Generator, Tensor, nn

from immunize.attacks.image import PGD, ImageAttack
from immunize.attacks.victim import Best, Victim
from immunize.batch import Batch, Embedding, Image
from immunize.config import frozen
from immunize.models import Clip, load
from immunize.models.dual_encoder import DualEncoder
from immunize.models.encode import untouched
from immunize.objectives import Bank
from immunize.rng import draw_seed, keys


@frozen
class Transfer:
    """x' = attack(stand-in, x), and one query of the true model for the verdict on x'.

    surrogate: a model's folder, or `open_clip:<architecture>/<tag>`. knows: what the attacker has of the true model.
    "nothing": the stand-in is the surrogate. "architecture": the same, and it must be the model's. "vision", "text": that
    tower is the model's own and the other the surrogate's, which must share the space (a defended model's public origin).
    With "vision" the surrogate may be None: the attack is then PGD away from the image's own clean embedding, for which no
    text is needed (as VEAttack, arXiv:2505.17440, does on the patches').
    """

    attack: ImageAttack
    surrogate: str | None = None
    knows: Literal["nothing", "architecture", "vision", "text"] = "nothing"
    kind: Literal["transfer"] = "transfer"

    def __post_init__(self) -> None:
        if self.surrogate is not None:
            return
        if self.knows != "vision":
            raise ValueError(f"surrogate: who knows {self.knows} needs another model for the rest")
        attack = self.attack
        if not isinstance(attack, PGD) or attack.objective not in ("away", "consistency") or attack.targeted:
            raise ValueError('attack: without a text it is PGD, untargeted, objective "away" or "consistency"')
        if not attack.random_start:
            raise ValueError("attack: the clean embedding has no gradient at itself, so PGD needs its random_start")

    def __call__(self, model: DualEncoder, batch: Batch, rng: Generator) -> Batch:
        x = self.attacked(model, batch, rng)
        with Victim.of(model, batch) as victim:
            best = Best(victim.clean)
            best.update(x, victim.query(x, victim.all), victim.all)
            return victim.finish(batch, best)

    def attacked(self, model: DualEncoder, batch: Batch, rng: Generator) -> Image:
        """The images as the attack leaves them on the stand-in, whose passes are no queries."""
        if self.surrogate is not None:
            return self.attack(self.stand_in(model), batch, rng).images
        assert isinstance(self.attack, PGD)
        with untouched(model):
            with torch.no_grad():
                clean = model.encode_image(batch.images)
            own = torch.eye(len(batch), dtype=torch.bool, device=clean.device)
            bank = Bank(clean, own, torch.zeros((), device=clean.device))  # all logits are 0: no text, so no verdict
            victim = Victim(model.encode_image, batch.images, bank, keys(batch.image_ids), self.attack.objective)
            return self.attack.search(victim, draw_seed(rng)).x

    def stand_in(self, model: DualEncoder) -> DualEncoder:
        """What the attack is run on; raises ValueError where the surrogate is not what `knows` says."""
        surrogate = _surrogate(str(self.surrogate)).to(model.device)
        if self.knows == "vision":
            return Halves(model, surrogate)
        if self.knows == "text":
            return Halves(surrogate, model)
        if self.knows == "architecture" and isinstance(model, Clip) and model.architecture != surrogate.architecture:
            raise ValueError(f"surrogate: {self.surrogate} is not of the model's architecture")
        return surrogate


class Halves(nn.Module):
    """The vision tower of one model and the text tower of another; the scale is the latter's."""

    def __init__(self, vision: DualEncoder, text: DualEncoder) -> None:
        nn.Module.__init__(self)
        self.vision = vision
        self.text = text

    def encode_image(self, images: Image) -> Embedding:
        return self.vision.encode_image(images)

    def encode_text(self, tokens: Int[Tensor, "c l"], embedded: Float[Tensor, "c l w"] | None = None) -> Embedding:
        return self.text.encode_text(tokens, embedded)

    def embed_tokens(self, tokens: Int[Tensor, "c l"]) -> Float[Tensor, "c l w"]:
        return self.text.embed_tokens(tokens)

    def tokenize(self, captions: Sequence[str]) -> Int[Tensor, "c l"]:
        return self.text.tokenize(captions)

    @property
    def logit_scale(self) -> Float[Tensor, ""]:
        return self.text.logit_scale

    @property
    def device(self) -> torch.device:
        return self.text.device

    @property
    def resolution(self) -> int:
        return self.vision.resolution


@lru_cache(maxsize=2)
def _surrogate(name: str) -> Clip:
    return load(name)
