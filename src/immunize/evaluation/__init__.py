"""Models under attack, example by example, with the reasons to distrust what comes out."""
