"""A model behind a policy: it scores what comes in, chooses a defense, answers under it, and says why."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace

import numpy as np
import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn

from immunize.adaptation.journal import Decision, decision
from immunize.adaptation.observation import Memory, Observer
from immunize.adaptation.payoffs import ABSTAIN
from immunize.adaptation.policy import Policy
from immunize.batch import Embedding, Image
from immunize.models import DualEncoder
from immunize.models.encode import encode_captions
from immunize.models.wrapped import Wrapped
from immunize.verification.verifier import Verdict, Verifier

Defended = Mapping[str, DualEncoder]


@dataclass(frozen=True, slots=True)
class Answer:
    """Both unit embeddings of each pair under the action taken, whether it was flagged, and which action that was.

    Embeddings are comparable where the action is the same: a gallery is embedded once under each (`Adapted.under`).
    """

    image: Embedding
    text: Embedding
    flagged: Bool[Tensor, " n"]
    action: Int[Tensor, " n"]


@dataclass(frozen=True, slots=True)
class Manner:
    """How an adapted model decides: what it sees of a batch of `batch` pairs, and what it makes of it.

    actions: names in the payoffs' order; an observation ends with the last action and two budgets that nothing limits here.
    """

    observer: Observer
    policy: Policy
    actions: tuple[str, ...]
    names: tuple[str, ...]
    batch: int = 32


class Adapted(Wrapped):
    """f and g under the action in force, which `respond` chooses anew for every batch of pairs.

    To begin with that is the action chosen for the first clean batch (`resting`). Decisions are handed to `journal`.
    """

    def __init__(
        self,
        defended: Defended,
        verifier: Verifier,
        manner: Manner,
        resting: str,
        journal: Callable[[Decision], None] | None = None,
    ) -> None:
        Wrapped.__init__(self, defended[resting])
        if missing := [name for name in manner.actions if name not in defended and name != ABSTAIN]:
            raise ValueError(f"adapted: no model answers under {missing}; there are {sorted(defended)}")
        self.defended = {name: defended[name] for name in manner.actions if name in defended}
        self.rest = nn.ModuleList([model for model in self.defended.values() if isinstance(model, nn.Module)])
        self.verifier, self.manner, self.resting, self.journal = verifier, manner, resting, journal
        self.begin()

    @property
    def actions(self) -> tuple[str, ...]:
        """What it chooses among."""
        return self.manner.actions

    def begin(self, seed: int = 0) -> None:
        """Forget the traffic seen so far: the action in force is `resting` again."""
        self.memory, self.last, self.step = Memory(self.manner.observer), -1, 0
        self.manner.policy.begin(seed)
        self.model = self.defended[self.resting]

    def under(self, action: str) -> DualEncoder:
        """The model under one action. Raises ValueError for a name that is none; who abstains answers as it rests."""
        if action not in self.actions:
            raise ValueError(f"{action!r} is no action of this model; it has {', '.join(self.actions)}")
        return self.defended.get(action, self.defended[self.resting])

    @torch.no_grad()
    def respond(self, images: Image, texts: Sequence[str]) -> Answer:
        """Images and texts that come in as pairs, `batch` at a time: each batch is scored, decided on and answered.

        Raises ValueError that names the pair for what cannot be judged (`Verifier.score`).
        """
        if not len(images):
            empty = torch.zeros(0, dtype=torch.int64, device=self.device)
            vector = self.verifier.probe.banks[0].image[:0]
            return Answer(vector, vector, empty.bool(), empty)
        rows = torch.arange(len(images)).split(self.manner.batch)
        parts = [self._answer(images[part], [texts[i] for i in part.tolist()]) for part in rows]
        return Answer(*(torch.cat([getattr(part, name) for part in parts]) for name in Answer.__slots__))

    def facing(self, images: Image, texts: Sequence[str]) -> DualEncoder:
        """The model as it answers once it has seen this traffic from its first batch on; what it remembers stays as it was."""
        manner = replace(self.manner, policy=deepcopy(self.manner.policy))
        other = Adapted(self.defended, self.verifier, manner, self.resting)
        other.respond(images, texts)
        return other.model

    def suspicion(self, images: Image, texts: Sequence[str]) -> Float[Tensor, " n"]:
        """max of both scores, each less its threshold: above 0 is flagged. Differentiable in the images."""
        return self.verifier.alarm(images, texts)

    @property
    def threshold(self) -> float:
        """Of `suspicion`."""
        return 0.0

    def _answer(self, images: Image, texts: list[str]) -> Answer:
        verdict = self.verifier.score(images, texts)
        seen = features(self.verifier, images, texts, verdict)
        now = self.manner.observer.now(seen.double().cpu().numpy())
        count = len(self.actions)
        own = np.zeros(count + 2)
        own[-2:] = 1.0
        if self.last >= 0:
            own[self.last] = 1.0
        observation = np.concatenate([self.memory.see(now), own]).astype(np.float32)
        index = int(self.manner.policy.act(observation)) % count
        name = self.actions[index]
        if self.journal is not None:
            raw = self.manner.observer.raw(seen.double().cpu().numpy())
            told = self.manner.observer, self.manner.names, self.actions, self.manner.policy
            self.journal(decision(self.step, raw, *told, index))
        self.last, self.step = index, self.step + 1
        self.model = self.under(name)
        image = self.model.encode_image(images.to(self.device))
        text = encode_captions(self.model, texts)
        flagged = verdict.flagged | (name == ABSTAIN)
        return Answer(image, text, flagged, torch.full((len(images),), index, device=image.device))


def features(
    verifier: Verifier, images: Image, texts: Sequence[str], verdict: Verdict | None = None
) -> Float[Tensor, "n f"]:
    """Both scores of a verdict, then the verifier's cheap features: what a policy sees of each pair."""
    verdict = verdict or verifier.score(images, texts)
    glance = verifier.probe.glance(images.to(verifier.probe.answering.device), list(texts))
    return torch.cat([verdict.misaligned[:, None], verdict.manipulated[:, None], glance.values], dim=1)
