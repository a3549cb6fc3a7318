"""Choosing a defense while serving: payoffs computed once, traffic whose regime switches, contenders, and doubts.

`payoffs` and `stream` make a `world`; `environment` is that world in gymnasium; `contenders` play it, `playing` and `gain` say
how well, `comparing` with which certainty, and `skeptic` asks whether learning did anything at all.
"""
