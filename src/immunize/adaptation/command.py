"""What both commands ask: which payoffs, under which rules and traffic."""

from __future__ import annotations

from argparse import ArgumentParser, Namespace
from pathlib import Path

import numpy as np

from immunize.adaptation.observation import Look
from immunize.adaptation.payoffs import Payoffs
from immunize.adaptation.rules import versions
from immunize.adaptation.stream import Stream
from immunize.adaptation.synthetic import Synthetic
from immunize.adaptation.world import World


def parser(prog: str, description: str | None) -> ArgumentParser:
    """The arguments that `worlds` reads, and how many streams and training seeds."""
    asked = ArgumentParser(prog=f"python -m {prog}", description=description)
    asked.add_argument("payoffs", nargs="?", type=Path, help="folder of the payoffs; without it, invented ones")
    asked.add_argument("judged", nargs="?", type=Path, help="folder to be judged on; without it, half of the first")
    asked.add_argument("--synthetic", type=float, default=0.4, help="how far apart invented regimes lie")
    asked.add_argument("--version", choices=("A", "B", "C"), default="A")
    asked.add_argument("--streams", type=int, default=20)
    asked.add_argument("--seeds", type=int, default=5)
    asked.add_argument("--dwell", type=float, default=100.0)
    asked.add_argument("--contamination", type=float, nargs="+", default=[1.0])
    asked.add_argument("--scores", nargs="+", default=["misaligned", "manipulated"])
    asked.add_argument("--paid", nargs="*", default=[], help="features that cost further passes")
    asked.add_argument("--alpha", type=float, help="weight of the adversarial loss, inf for it alone; else as saved")
    asked.add_argument("--abstain", type=float, help="an action that answers nothing earns this")
    return asked


def worlds(args: Namespace) -> tuple[World, World]:
    """(train, test), of the two folders, or of one: half of its items, drawn by seed 0, to fit on, the others to be judged on.

    Raises ValueError where the folders differ in regimes, actions or names of features.
    """
    look = Look(scores=tuple(args.scores), paid=tuple(args.paid))
    if args.payoffs is None:
        invented = Synthetic(separability=args.synthetic)
        train, test = _halves(_asked(invented.make(), args))
        look = invented.look
    elif args.judged is None:
        train, test = _halves(_asked(Payoffs.read(args.payoffs), args))
    else:
        train, test = (_asked(Payoffs.read(folder), args) for folder in (args.payoffs, args.judged))
        for kind in ("regimes", "actions", "names"):
            if (ours := getattr(train, kind)) != (theirs := getattr(test, kind)):
                raise ValueError(f"{args.judged}: {kind} {', '.join(theirs)}; {args.payoffs} has {', '.join(ours)}")
    stream = Stream(dwell=args.dwell, contamination=tuple(args.contamination))
    world = World.of(train, stream, versions(train)[args.version], look)
    return world, world.on(test)


def _asked(payoffs: Payoffs, args: Namespace) -> Payoffs:
    payoffs = payoffs if args.alpha is None else payoffs.weighed(args.alpha)
    return payoffs if args.abstain is None else payoffs.abstaining(args.abstain)


def _halves(payoffs: Payoffs) -> tuple[Payoffs, Payoffs]:
    order = np.random.default_rng(0).permutation(len(payoffs))
    return payoffs.take(order[: len(order) // 2]), payoffs.take(order[len(order) // 2 :])
