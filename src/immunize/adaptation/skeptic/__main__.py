"""python -m immunize.adaptation.skeptic [payoffs]: all twelve tests of one contender, one line each; 1 where one failed."""

from __future__ import annotations

import sys
from argparse import Namespace

from immunize.adaptation.command import parser, worlds
from immunize.adaptation.contenders import AnyContender, Ppo
from immunize.adaptation.skeptic import Bench, doubts
from immunize.config import parse


def main(arguments: list[str]) -> int:
    """Prints a verdict as soon as it is there."""
    asked = parser("immunize.adaptation.skeptic", __doc__)
    asked.add_argument("--candidate", default="hidden_markov", help="kind of the contender that is doubted")
    asked.add_argument("--ppo", action="store_true", help="train PPO twice for the test on gamma")
    asked.add_argument("--held", type=int, help="how many regimes to hold out in turn; without it, all")
    asked.add_argument("--ensemble", help="the action that asks all defenses at once")
    failed = 0
    for number, verdict in enumerate(doubts(bench(asked.parse_args(arguments))), 1):
        print(f"{number:2d} {verdict}", flush=True)
        failed += verdict.passed is False
    return int(failed > 0)


def bench(args: Namespace) -> Bench:
    """The candidate at its defaults."""
    train, test = worlds(args)
    return Bench(
        train=train,
        test=test,
        candidate=parse({"kind": args.candidate}, AnyContender, "--candidate"),
        streams=range(10_000, 10_000 + args.streams),
        seeds=range(args.seeds),
        ensemble=args.ensemble,
        ppo=Ppo() if args.ppo else None,
        held=args.held,
    )


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
