"""python -m immunize.adaptation [payoffs]: a table of all contenders on the same streams; with --ppo PPO too, twice."""

from __future__ import annotations

import sys

from immunize.adaptation.command import parser, worlds
from immunize.adaptation.comparing import study, table
from immunize.adaptation.contenders import Looking, Ppo, field


def main(arguments: list[str]) -> None:
    """Prints the table once all have played."""
    asked = parser("immunize.adaptation", __doc__)
    asked.add_argument("--ppo", action="store_true", help="train PPO with gamma 0 and .95, which takes minutes a seed")
    args = asked.parse_args(arguments)
    train, test = worlds(args)
    contenders = field(train.payoffs.actions)
    if train.rules.looking is not None:
        contenders["hidden Markov, looking"] = Looking(contenders["hidden Markov"])
    if args.ppo:
        contenders |= {"PPO, gamma 0": Ppo(gamma=0.0), "PPO, gamma .95": Ppo()}
    print(table(study(contenders, train, test, range(10_000, 10_000 + args.streams), range(args.seeds))))


if __name__ == "__main__":
    main(sys.argv[1:])
