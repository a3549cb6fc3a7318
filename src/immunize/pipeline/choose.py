"""params.yaml for a preset: its name and, since DVC can read lists for `foreach` nowhere else, its defenses and their pairs;
and the defense that is watched, so that nobody waits for the others.

`python -m immunize.pipeline.choose smoke` writes it.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

import yaml

from immunize.config import ConfigurationError

HEAD = """\
# Which preset runs: presets/<preset>.yaml holds every other parameter, and names the folders of all outputs.
# The lists below follow from that file; `python -m immunize.pipeline.choose <preset>` writes all of this anew.
# Between presets with the same defenses `dvc exp run -S preset=<preset>` is enough.
"""
WATCHING = ("verify", "adapt", "adaptive")  # their stages wait for that defense, and for no other


def params(preset: str, root: Path = Path(".")) -> str:
    """The text of params.yaml; raises ConfigurationError for a preset that has no file, no defenses, or watches several."""
    path = root / "presets" / f"{preset}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigurationError(f"{path} does not exist; here are {known}")
    sections = yaml.safe_load(path.read_text()) or {}
    recipes = sections.get("immunize")
    if not isinstance(recipes, dict):
        raise ConfigurationError(f"{path}: immunize: must name the defenses")
    found = yaml.safe_dump([sections.get(name) for name in WATCHING])
    watched = sorted(set(re.findall(r"\bimmunize/\w+", found)))
    if len(watched) > 1 or any(one.removeprefix("immunize/") not in recipes for one in watched):
        names = ", ".join(watched)
        raise ConfigurationError(f"{path}: {', '.join(WATCHING)}: must be about one defense of `immunize`, not {names}")
    lists = {
        "preset": preset,
        "defenses": {name: recipe.get("pairs", "collect") for name, recipe in recipes.items()},
        "models": {"pretrain": "pretrain"} | {name: f"immunize/{name}" for name in recipes},
        "watched": watched[0] if watched else "pretrain",
    }
    return HEAD + yaml.safe_dump(lists, sort_keys=False)


if __name__ == "__main__":
    Path("params.yaml").write_text(params(sys.argv[1]))
