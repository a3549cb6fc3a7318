"""Stage `adapt`: payoffs of every defense under every regime, contenders on streams of them, and the model that is shipped."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import field, replace
from functools import partial
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import Field

from immunize import models, verification
from immunize.adaptation import storage
from immunize.adaptation.adapted import features
from immunize.adaptation.comparing import known_mean, tested
from immunize.adaptation.contenders import AnyContender, LinearUcb, Shifting, Thompson
from immunize.adaptation.contest import YARDSTICKS, contest
from immunize.adaptation.journal import Journal
from immunize.adaptation.observation import Look
from immunize.adaptation.payoffs import ABSTAIN, Payoffs
from immunize.adaptation.playing import play
from immunize.adaptation.policy import Policy
from immunize.adaptation.rules import versions
from immunize.adaptation.shipped import Shipped
from immunize.adaptation.storage import Plan
from immunize.adaptation.stream import Stream
from immunize.adaptation.tensor import fill
from immunize.adaptation.timeline import beside
from immunize.adaptation.traffic import CLEAN, Shift, traffic
from immunize.adaptation.world import World
from immunize.attacks import Attack
from immunize.config import frozen, load, preset
from immunize.data.loader import Pairs
from immunize.models import DualEncoder
from immunize.models.memory import keep_freed
from immunize.serving import Serving
from immunize.verification import Verifier

Count = Annotated[int, Field(ge=1)]
SCORES = ("misaligned", "manipulated")
LEARNERS = (LinearUcb, Thompson, Shifting)


@frozen
class Action:
    """One defense: a model of `models` within a serving-time defense."""

    model: str
    defense: Serving


@frozen
class Params:
    """`models`: name -> folder below models/<preset>; `attacked`: the one on which the regimes' attacks are made.

    actions: name -> what answers; the one that earns most on clean traffic rests until the policy speaks. regimes: name ->
    attack; `held_out`: regimes that no policy is fitted on; `through`: regime -> the action through which its attack is
    made, in place of the bare model. shift: benign traffic (null: none). contenders: who plays; `ship`: those that may be
    saved where the best fixed action leaves enough to gain (`contest`). versions: A (nothing but
    regimes that switch), B (budgets and costs), C (an attacker who reacts). streams, seeds: of the test, and of training.
    items: pairs of each split. Policies are fitted on the validation split and judged on the test split.
    """

    models: dict[str, str]
    attacked: str
    actions: dict[str, Action]
    regimes: dict[str, Attack]
    contenders: dict[str, AnyContender]
    ship: tuple[str, ...]
    held_out: dict[str, Attack] = field(default_factory=dict)
    through: dict[str, str] = field(default_factory=dict)
    shift: Shift | None = Shift()
    stream: Stream = Stream(contamination=(0.1, 0.5, 1.0))
    versions: tuple[Literal["A", "B", "C"], ...] = ("A", "B", "C")
    streams: Count = 20
    seeds: Count = 5
    items: Count = 500
    abstain: float | None = None
    block: Count = 100
    seed: int = 0

    def __post_init__(self) -> None:
        if unknown := sorted(({one.model for one in self.actions.values()} | {self.attacked}) - set(self.models)):
            raise ValueError(f"actions, attacked: no model {', '.join(unknown)}; there are {sorted(self.models)}")
        if unknown := sorted(set(self.through) - {*self.regimes, *self.held_out}):
            raise ValueError(
                f"through: no regime {', '.join(unknown)}; there are {sorted({**self.regimes, **self.held_out})}"
            )
        if unknown := sorted(set(self.through.values()) - set(self.actions)):
            raise ValueError(f"through: no action {', '.join(unknown)}; there are {sorted(self.actions)}")
        if not (self.ship and self.versions and self.actions):
            raise ValueError("ship, versions, actions: each names at least one")
        if unknown := sorted(set(self.ship) - set(self.contenders)):
            raise ValueError(f"ship: no contender {', '.join(unknown)}; there are {sorted(self.contenders)}")
        if learning := [name for name in self.ship if isinstance(self.contenders[name], LEARNERS)]:
            raise ValueError(f"ship: {', '.join(learning)} learns from rewards, which live traffic has none of")


def main() -> None:
    params = load("adapt", Params)
    root, reports = Path("models") / preset(), Path("reports") / preset() / "adapt"
    folders = {name: str(root / at) for name, at in params.models.items()}
    loaded = {name: models.load(at) for name, at in folders.items()}
    verifier = verification.load(root / "verify")
    train, test = (payoffs(params, loaded, verifier, split) for split in ("validation", "test"))
    for split, one in (("validation", train), ("test", test)):
        one.save(root / "adapt" / "payoffs" / split)
    met = tuple(name for name in train.regimes if name not in params.held_out)
    worlds = {version: world_of(params, train.under(met), version) for version in params.versions}
    streams, seeds = range(10_000, 10_000 + params.streams), range(params.seeds)
    found = {}
    for version, world in worlds.items():
        found[version] = contest(params.contenders, world, world.on(test.under(met)), params.ship, streams, seeds)
        print(f"version {version}: {found[version]['shipped']} leads on training streams", flush=True)
    first = params.versions[0]
    shipped, world = found[first]["shipped"], worlds[first]
    policy = {**YARDSTICKS, **params.contenders}[shipped].fit(world, params.seed)
    served = {name: (folders[one.model], one.defense) for name, one in params.actions.items()}
    plan = Plan(served, str(root / "verify"), resting(world), params.stream.batch)
    storage.save(plan, Shipped.of(policy, world), root / "adapt")
    journal = Journal.of(world, policy)
    judge = world.on(test.under(met))
    run = play(judge, policy, streams[0], watch=journal)
    journal.write(reports / "journal.jsonl")
    timeline = {"schema": 1, "version": first} | beside(run, world, judge, params.seed, streams[0])
    (reports / "timeline.json").write_text(json.dumps(timeline, allow_nan=False) + "\n")
    report = {"schema": 1, "preset": preset(), "shipped": shipped, "resting": resting(world), "versions": found}
    report |= {"table": table(test), "held_out": held_out(params, policy, world, test)}
    (reports / "adaptation.json").write_text(json.dumps(report, indent=1, sort_keys=True, allow_nan=False) + "\n")


def payoffs(params: Params, loaded: Mapping[str, DualEncoder], verifier: Verifier, split: str) -> Payoffs:
    """What each action earns on each pair of a split under each regime, and what the verifier sees of it."""
    pairs = Pairs.read(Path("data") / preset() / "collect", split, params.items)
    actions = {name: one.defense.around(loaded[one.model]) for name, one in params.actions.items()}
    twins = {name: one.defense.twin().around(loaded[one.model]) for name, one in params.actions.items()}
    victims = {regime: twins[action] for regime, action in params.through.items()}
    attacks = {**params.regimes, **params.held_out}
    regimes = traffic(loaded[params.attacked], pairs, attacks, params.shift, params.seed, params.block, victims=victims)
    names = (*SCORES, *verifier.look(regimes[CLEAN].images[:1], regimes[CLEAN].captions[:1]).names)
    found = fill(actions, regimes, partial(features, verifier), names, clean=CLEAN)
    return found if params.abstain is None else found.abstaining(params.abstain)


def world_of(params: Params, known: Payoffs, version: str) -> World:
    """The problem on these payoffs; scores, thresholds and whitening are those of its clean items."""
    return World.of(known, params.stream, versions(known)[version], Look(scores=SCORES), params.seed)


def resting(world: World) -> str:
    """The action that earns most on clean traffic, of those that answer."""
    earned = world.table[world.clean] - world.price
    order = [world.payoffs.actions[int(i)] for i in (-earned).argsort(kind="stable")]
    return next(name for name in order if name != ABSTAIN)


def table(found: Payoffs) -> dict[str, Any]:
    """Mean reward and share of right answers (percent) by regime and action, and the cosine of mismatched pairs."""
    tables = {"reward": found.table, "correct": 100 * found.correct.mean(axis=0), "mismatched": found.mismatched}
    rows = {
        name: {z: dict(zip(found.actions, row)) for z, row in zip(found.regimes, np.round(one, 5).tolist())}
        for name, one in tables.items()
    }
    return rows | {"alpha": found.alpha, "latency": dict(zip(found.actions, found.latency.tolist()))}


def held_out(params: Params, policy: Policy, world: World, test: Payoffs) -> dict[str, float | None]:
    """G of the shipped policy where a regime that it never met reigns, clean traffic between; null where it never came up."""
    gains: dict[str, float | None] = {}
    for name in params.held_out:
        stream = replace(world.stream, only=(CLEAN, name))
        runs = tested(policy, replace(world.on(test), stream=stream), range(10_000, 10_000 + params.streams))
        found = float(known_mean(np.array([[run.by_regime[test.regimes.index(name)]] for run in runs]))[0])
        gains[name] = found if isfinite(found) else None
    return gains


if __name__ == "__main__":
    keep_freed()
    main()
