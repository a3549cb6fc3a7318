"""A problem as one value: payoffs, traffic, costs and what is seen of them; what contenders are fitted and judged on."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from jaxtyping import Bool, Float, Int

from immunize.adaptation.foreseen import Streams
from immunize.adaptation.observation import Look, Observer
from immunize.adaptation.payoffs import ABSTAIN, Payoffs, Scale, Table
from immunize.adaptation.rules import Rules
from immunize.adaptation.stream import Episode, Stream


@dataclass(frozen=True, slots=True)
class Taken:
    """Streams seen with everything told: what supervised contenders learn from. `rewards` with the latency's price.

    shares: the contamination. starts: where a stream begins, of those that stand here one after the other.
    """

    contexts: Float[np.ndarray, "t d"]
    rewards: Float[np.ndarray, "t a"]
    regimes: Int[np.ndarray, " t"]
    shares: Float[np.ndarray, " t"]
    starts: Bool[np.ndarray, " t"]


@dataclass(frozen=True)
class World:
    """`reward` is in units of the headroom of the payoffs that `scale` was taken from, the training items'.

    shuffled: the batches are seen in another order than they come in (a control). paying: who learns here from streams
    that are told (`taken`) pays for a look at every batch.
    """

    payoffs: Payoffs
    stream: Stream
    rules: Rules
    observer: Observer
    scale: Scale
    shuffled: bool = False
    paying: bool = False

    @classmethod
    def of(cls, payoffs: Payoffs, stream: Stream, rules: Rules, look: Look, seed: int = 0) -> World:
        """The world of the training items: scale, whitening and thresholds are those of its clean batches."""
        rng = np.random.default_rng(seed)
        observer = look.fit(payoffs, stream.background(payoffs), stream.batch, rng)
        return cls(payoffs, stream, rules, observer, Scale.of(payoffs))

    def on(self, payoffs: Payoffs) -> World:
        """The same problem with other items or regimes; what was fitted stays. Raises ValueError for other columns."""
        if (payoffs.actions, payoffs.names) != (self.payoffs.actions, self.payoffs.names):
            raise ValueError(
                f"world: other actions or features than those fitted on: {payoffs.actions} {payoffs.names}"
            )
        return replace(self, payoffs=payoffs)

    @cached_property
    def reward(self) -> Float[np.ndarray, "n z a"]:
        return self.scale(self.payoffs.reward)

    @cached_property
    def table(self) -> Table:
        """Scaled payoffs without noise."""
        return self.reward.mean(axis=0)

    @cached_property
    def price(self) -> Float[np.ndarray, " a"]:
        """What the latency of each action costs."""
        return self.rules.latency_price * self.payoffs.latency

    @cached_property
    def reigning(self) -> Int[np.ndarray, " k"]:
        """The regimes that come up."""
        return self.stream.reigning(self.payoffs)

    @cached_property
    def clean(self) -> int:
        return self.stream.background(self.payoffs)

    @cached_property
    def streams(self) -> Streams:
        """Those already drawn."""
        return Streams()

    @property
    def actions(self) -> int:
        return len(self.payoffs.actions)

    @property
    def choices(self) -> int:
        """Actions of the environment: each without and, where looking has a price, with a look at the next batch."""
        return self.actions * (1 if self.rules.looking is None else 2)

    @property
    def width(self) -> int:
        """Columns of what is seen of the traffic; the rest of an observation is about oneself."""
        return self.observer.width

    @property
    def shape(self) -> int:
        """Columns of an observation: traffic, last action, what is left of both budgets."""
        return self.width + self.actions + 2

    @cached_property
    def refuses(self) -> int:
        """The place of the action that abstains, or -1."""
        return self.payoffs.actions.index(ABSTAIN) if ABSTAIN in self.payoffs.actions else -1

    def seen(self, episode: Episode, regime: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t c"]:
        """`Observer.now` of each batch, if `regime` reigns; some batches at a time, for memory."""
        under, parts = episode.under(regime, self.clean), []
        for rows in np.array_split(np.arange(len(episode)), max(1, episode.items.size // 20_000)):
            parts.append(self.observer.now(self.payoffs.features[episode.items[rows], under[rows]]))
        return np.concatenate(parts)

    def earned(self, episode: Episode, regime: Int[np.ndarray, " t"]) -> Float[np.ndarray, "t a"]:
        """Mean scaled reward of each batch for each action, without any cost."""
        under = episode.under(regime, self.clean)
        return np.einsum("tba->ta", self.reward[episode.items, under]) / episode.items.shape[1]

    def taken(self, seed: int, streams: int) -> Taken:
        """`streams` streams by chance; an attacker has no part in them."""
        parts: list[Taken] = []
        for rng in np.random.default_rng(seed).spawn(streams):
            episode = self.stream.draw(self.payoffs, rng)
            now = self.seen(episode, episode.regime)
            if self.rules.looking is not None and not self.paying:
                now[:, self.observer.free :] = 0
            rewards = self.earned(episode, episode.regime) - self.price
            start = np.arange(len(episode)) == 0
            parts.append(Taken(self.observer.remembered(now), rewards, episode.regime, episode.share, start))
        names = ("contexts", "rewards", "regimes", "shares", "starts")
        return Taken(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))
