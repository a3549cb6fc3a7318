"""What is attacked: a model that scores its input, chooses a defense and answers or flags, seen as its attacker sees it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from math import inf
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from immunize.batch import Embedding, Image
from immunize.models.dual_encoder import DualEncoder
from immunize.models.remembering import Remembering
from immunize.models.wrapped import Wrapped

Alarm = Callable[[Image, Sequence[str]], Float[Tensor, " n"]]


@dataclass(frozen=True, slots=True)
class Response:
    """What came back for each pair: both unit embeddings under the action taken, and whether the pair was flagged.

    action: index into `System.actions`. A pair that the system abstains from is flagged.
    """

    image: Embedding
    text: Embedding
    flagged: Bool[Tensor, " n"]
    action: Int[Tensor, " n"]


@runtime_checkable
class System(Protocol):
    """Image n and caption n are a pair; everything is known to the attacker but the random draws.

    Every score that can flag a pair has to be in `suspicion`, or the attacks are aware of a part of the detector alone. A
    system that owns models besides those of `under` is an `nn.Module`, or keeps them frozen and in evaluation mode.
    """

    @property
    def actions(self) -> tuple[str, ...]:
        """The names of what the policy chooses among, the undefended answer first."""
        ...

    @property
    def threshold(self) -> float:
        """A pair is flagged where its suspicion is above."""
        ...

    def under(self, action: str) -> DualEncoder:
        """The answer under one action, differentiable where it can be: the white box; a random defense draws at each call."""
        ...

    def suspicion(self, images: Image, captions: Sequence[str]) -> Float[Tensor, " n"]:
        """The score that flags, differentiable in the images."""
        ...

    def respond(self, images: Image, captions: Sequence[str]) -> Response:
        """The system as served: hard transforms, the policy's own choice, fresh random draws."""
        ...


@runtime_checkable
class Steerable(Protocol):
    """A system whose policy can be differentiated; one whose policy cannot is steered through `suspicion`."""

    def preference(self, images: Image, captions: Sequence[str]) -> Float[Tensor, "n a"]:
        """What the policy maximizes over the actions, differentiable in the images."""
        ...


@runtime_checkable
class Purifying(Protocol):
    """A model of `System.under` that transforms the image first: where the identity stands in for that transform's slope."""

    @property
    def model(self) -> DualEncoder:
        """The model behind the transform."""
        ...

    @property
    def clean(self) -> Callable[[Image], Image]:
        """The transform as served, however flat."""
        ...


class Static:
    """One model without detector or choice: the undefended model, or the robust one, at the same attacks and budget."""

    actions = ("none",)
    threshold = inf

    def __init__(self, model: DualEncoder) -> None:
        self.model = model

    def under(self, action: str) -> DualEncoder:
        return self.model

    def suspicion(self, images: Image, captions: Sequence[str]) -> Float[Tensor, " n"]:
        return images.flatten(1).sum(dim=1) * 0

    @torch.no_grad()
    def respond(self, images: Image, captions: Sequence[str]) -> Response:
        image, text = self.model.encode_image(images), self.model.encode_text(self.model.tokenize(captions))
        calm = torch.zeros(len(images), dtype=torch.int64, device=image.device)
        return Response(image, text, calm.bool(), calm)


class Screened(Static):
    """One model behind a detector, which flags where `alarm`, differentiable in the images, is above 0."""

    threshold = 0.0

    def __init__(self, model: DualEncoder, alarm: Alarm) -> None:
        Static.__init__(self, model)
        self.alarm = alarm

    def suspicion(self, images: Image, captions: Sequence[str]) -> Float[Tensor, " n"]:
        return self.alarm(images, captions)

    @torch.no_grad()
    def respond(self, images: Image, captions: Sequence[str]) -> Response:
        answer = Static.respond(self, images, captions)
        return replace(answer, flagged=self.alarm(images, captions) > 0)


class Known:
    """The same system, each action's captions encoded once whatever attacks it: its weights must not change meanwhile."""

    def __init__(self, system: System) -> None:
        self.system: System = system.system if isinstance(system, Known) else system
        self.actions, self.threshold = self.system.actions, self.system.threshold
        self._under: dict[str, Remembering] = {}

    def under(self, action: str) -> Remembering:
        """The model under one action, which remembers; raises ValueError for an action that the system has not."""
        if action not in self.actions:
            raise ValueError(f"{action!r} is no action of the system; it has {', '.join(self.actions)}")
        if action not in self._under:
            self._under[action] = Remembering(_Attached(self.system.under(action)), limit=20_000)
        return self._under[action]

    def bare(self, action: str) -> DualEncoder:
        """The model of one action as the system gave it."""
        attached = self.under(action).model
        assert isinstance(attached, _Attached)
        return attached.model

    def suspicion(self, images: Image, captions: Sequence[str]) -> Float[Tensor, " n"]:
        return self.system.suspicion(images, captions)

    def respond(self, images: Image, captions: Sequence[str]) -> Response:
        return self.system.respond(images, captions)


class _Attached(Wrapped):
    """The model, its slope 0 where a defense cut the graph: that is for `sanity` to report, not for an attack to stop at."""

    def encode_image(self, images: Image) -> Embedding:
        seen = self.model.encode_image(images)
        if seen.requires_grad or not images.requires_grad:
            return seen
        return seen + 0 * images.flatten(1).sum(dim=1, keepdim=True)
