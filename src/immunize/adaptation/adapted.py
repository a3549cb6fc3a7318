"""A model behind a policy: it scores what comes in, chooses a defense, answers under it, and writes down why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from jaxtyping import Float
from torch import Tensor, nn

from immunize.adaptation.journal import Decision
from immunize.adaptation.payoffs import ABSTAIN
from immunize.adaptation.shipped import Live, Shipped
from immunize.batch import Image
from immunize.evaluation.adaptive import Response
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions
from immunize.models.wrapped import Wrapped
from immunize.verification import inputs
from immunize.verification.verifier import Look, Verifier


class Adapted(Wrapped):
    """f and g under the action in force, which `respond` chooses anew for every `batch` pairs.

    `resting` is in force until the first batch comes. defended: what answers under each action; under `abstain`, which
    flags all, what rests does. twins: the same with gradients, where they differ. afresh: every `respond` is the first, so
    that equal pairs get equal answers, which whoever attacks it again and again needs.
    """

    def __init__(
        self,
        defended: Mapping[str, DualEncoder],
        verifier: Verifier,
        shipped: Shipped,
        resting: str,
        batch: int = 32,
        twins: Mapping[str, DualEncoder] | None = None,
        afresh: bool = False,
    ) -> None:
        answering = [resting, *(name for name in shipped.actions if name != ABSTAIN)]  # at rest nothing abstains
        if missing := [name for name in answering if name not in defended]:
            raise ValueError(f"adapted: no model answers under {', '.join(missing)}; there are {', '.join(defended)}")
        Wrapped.__init__(self, defended[resting])
        self.defended, self.verifier, self.shipped = dict(defended), verifier, shipped
        self.resting, self.batch, self.twins = resting, batch, {**defended, **(twins or {})}
        self.afresh = afresh
        every = [*self.defended.values(), *self.twins.values()]
        self.rest = nn.ModuleList([one for one in every if isinstance(one, nn.Module)])
        self.begin()

    def begin(self) -> None:
        """Forget the traffic seen so far, and the decisions."""
        self.live, self.model = Live(self.shipped), self.defended[self.resting]

    @property
    def actions(self) -> tuple[str, ...]:
        """What it chooses among."""
        return self.shipped.actions

    @property
    def decisions(self) -> list[Decision]:
        """The record of every batch since `begin`: scores, belief, action, reason."""
        return self.live.journal.decisions

    @property
    def threshold(self) -> float:
        """Of `suspicion`."""
        return 0.0

    def under(self, action: str) -> DualEncoder:
        """The model under one action, with gradients. Raises ValueError for a name that is none."""
        if action not in self.actions:
            raise ValueError(f"{action!r} is no action of this model; it has {', '.join(self.actions)}")
        return self.twins.get(action, self.twins[self.resting])

    def suspicion(self, images: Image, captions: Sequence[str]) -> Float[Tensor, " n"]:
        """The higher of both scores, each less its threshold: above 0 is flagged; differentiable in the images."""
        return self.verifier.alarm(images, captions)

    @torch.no_grad()
    def respond(self, images: Image, captions: Sequence[str]) -> Response:
        """Image i comes in with caption i: each `batch` of pairs is scored, decided on and answered, in order.

        Embeddings can be compared where the action is the same: a gallery is embedded once under each (`under`).
        Raises ValueError that names the pair for what cannot be judged (`Verifier.score`), before any pair is seen.
        """
        inputs.check(images, captions)
        if not len(images):
            none = torch.zeros(0, dtype=torch.int64, device=self.device)
            empty = self.verifier.probe.banks[0].image[:0]
            return Response(empty, empty, none.bool(), none)
        if self.afresh:
            self.begin()
        parts = [
            self._answer(images[rows], [captions[i] for i in rows.tolist()])
            for rows in torch.arange(len(images)).split(self.batch)
        ]
        return Response(*(torch.cat([getattr(part, name) for part in parts]) for name in Response.__slots__))

    def facing(self, images: Image, captions: Sequence[str]) -> DualEncoder:
        """What answers once this traffic has been seen from its first batch on; this model itself sees nothing of it."""
        other = Adapted(self.defended, self.verifier, deepcopy(self.shipped), self.resting, self.batch)
        other.respond(images, captions)
        return other.model

    def _answer(self, images: Image, captions: list[str]) -> Response:
        look = self.verifier.look(images, captions)
        index = self.live.choose(observed(look).double().cpu().numpy())
        action = self.actions[index]
        self.model = self.defended.get(action, self.defended[self.resting])
        image = self.model.encode_image(images.to(self.device))
        flagged = look.verdict.flagged.to(image.device) | (action == ABSTAIN)
        place = torch.full((len(images),), index, device=image.device)
        return Response(image, encode_captions(self.model, captions), flagged, place)


def features(verifier: Verifier, images: Image, captions: Sequence[str]) -> Float[Tensor, "n f"]:
    """What a policy sees of each pair: both scores of the verdict, then the verifier's cheap features."""
    return observed(verifier.look(images, captions))


def observed(look: Look) -> Float[Tensor, "n f"]:
    """`features` of pairs already looked at."""
    scores = look.verdict.misaligned, look.verdict.manipulated
    return torch.cat([torch.stack(scores, dim=1), look.values], dim=1)
