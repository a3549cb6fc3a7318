"""Models under attack, example by example, with the reasons to distrust what comes out."""

from immunize.evaluation.suite import Attacked, Subject, evaluate, result

__all__ = ["Attacked", "Subject", "evaluate", "result"]
