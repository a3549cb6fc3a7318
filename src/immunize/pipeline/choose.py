"""params.yaml for a preset: its name and, since DVC can read lists for `foreach` nowhere else, its defenses and their pairs.

`python -m immunize.pipeline.choose smoke` writes it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import yaml

from immunize.config import ConfigurationError

HEAD = """\
# Which preset runs: presets/<preset>.yaml holds every other parameter, and names the folders of all outputs.
# The lists below follow from that file; `python -m immunize.pipeline.choose <preset>` writes all of this anew.
# Between presets with the same defenses `dvc exp run -S preset=<preset>` is enough.
"""


def params(preset: str, root: Path = Path(".")) -> str:
    """The text of params.yaml; raises ConfigurationError for a preset that has no file, or no defenses."""
    path = root / "presets" / f"{preset}.yaml"
    if not path.exists():
        known = sorted(p.stem for p in path.parent.glob("*.yaml"))
        raise ConfigurationError(f"{path} does not exist; here are {known}")
    recipes = (yaml.safe_load(path.read_text()) or {}).get("immunize")
    if not isinstance(recipes, dict):
        raise ConfigurationError(f"{path}: immunize: must name the defenses")
    lists = {
        "preset": preset,
        "defenses": {name: recipe.get("pairs", "collect") for name, recipe in recipes.items()},
        "models": {"pretrain": "pretrain"} | {name: f"immunize/{name}" for name in recipes},
    }
    return HEAD + yaml.safe_dump(lists, sort_keys=False)


if __name__ == "__main__":
    Path("params.yaml").write_text(params(sys.argv[1]))
