"""python -m immunize.adaptation.skeptic [payoffs]: all twelve tests of one contender, one line each; 1 where one failed."""

from __future__ import annotations

import sys
from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from immunize.adaptation.contenders import AnyContender, Ppo
from immunize.adaptation.observation import Look
from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.rules import versions
from immunize.adaptation.skeptic import Bench, doubts
from immunize.adaptation.stream import Stream
from immunize.adaptation.synthetic import Synthetic
from immunize.adaptation.world import World
from immunize.config import parse


def main(arguments: list[str]) -> int:
    """Prints a verdict as soon as it is there."""
    args = _parser().parse_args(arguments)
    failed = 0
    for number, verdict in enumerate(doubts(bench(args)), 1):
        print(f"{number:2d} {verdict}", flush=True)
        failed += verdict.passed is False
    return int(failed > 0)


def bench(args: Namespace) -> Bench:
    """Half of the items, drawn by seed 0, to fit on, the other half to be judged on."""
    if args.payoffs is None:
        invented = Synthetic(separability=args.synthetic)
        payoffs, look = invented.make(), invented.look
    else:
        payoffs = Payoffs.read(args.payoffs)
        look = Look(scores=tuple(args.scores), paid=tuple(args.paid))
    order = np.random.default_rng(0).permutation(len(payoffs))
    train, test = payoffs.take(order[: len(order) // 2]), payoffs.take(order[len(order) // 2 :])
    stream = Stream(dwell=args.dwell, contamination=tuple(args.contamination))
    world = World.of(train, stream, versions(train)[args.version], look)
    candidate = parse({"kind": args.candidate}, AnyContender, "--candidate")
    return Bench(
        train=world,
        test=world.on(test),
        candidate=candidate,
        streams=range(10_000, 10_000 + args.streams),
        seeds=range(args.seeds),
        ensemble=args.ensemble,
        ppo=Ppo() if args.ppo else None,
        held=args.held,
    )


def _parser() -> ArgumentParser:
    parser = ArgumentParser(prog="python -m immunize.adaptation.skeptic", description=__doc__)
    parser.add_argument("payoffs", nargs="?", type=Path, help="folder of the payoffs; without it, invented ones")
    parser.add_argument("--synthetic", type=float, default=0.4, help="how far apart invented regimes lie")
    parser.add_argument("--version", choices=("A", "B", "C"), default="A")
    parser.add_argument("--candidate", default="hidden_markov", help="kind of the contender that is doubted")
    parser.add_argument("--ppo", action="store_true", help="train PPO twice for the test on gamma")
    parser.add_argument("--streams", type=int, default=20)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--held", type=int, help="how many regimes to hold out in turn; without it, all")
    parser.add_argument("--dwell", type=float, default=100.0)
    parser.add_argument("--contamination", type=float, nargs="+", default=[1.0])
    parser.add_argument("--scores", nargs="+", default=["misaligned", "manipulated"])
    parser.add_argument("--paid", nargs="*", default=[])
    parser.add_argument("--ensemble", help="the action that asks all defenses at once")
    return parser


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
