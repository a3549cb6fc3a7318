"""The stages of the toy: a few bytes each, at a pace and with a failure that its preset asks for."""

import json
import subprocess
import sys
import time
from pathlib import Path

import yaml


def collect(preset, params):
    folder = Path("data", preset, "collect")
    folder.mkdir(parents=True)
    (folder / "pairs.txt").write_text(Path("source.txt").read_text() * params["rows"])


def immunize(preset, params, defense):
    mine = params[defense]
    if mine.get("fail"):
        sys.exit(f"{defense} was asked to fail")
    if mine["seconds"]:  # a helper in a session of its own, as a data loader or a launcher would start
        subprocess.Popen([sys.executable, "-c", f"import time; time.sleep({mine['seconds']})"], start_new_session=True)
        print(f"{defense} is training", flush=True)
        time.sleep(mine["seconds"])
    folder = Path("models", preset, "immunize", defense)
    folder.mkdir(parents=True)
    (folder / "model.json").write_text(json.dumps({"joint": mine["joint"]}))
    (folder / "log.json").write_text(json.dumps([{"step": s, "loss": 1 / (s + 1)} for s in range(5)]))


def report(preset, params):
    metrics = {}
    for folder in sorted(Path("models", preset, "immunize").iterdir()):
        joint = json.loads((folder / "model.json").read_text())["joint"]
        metrics[folder.name] = {"joint": {"tr_r1": joint, "tr_r1_low": joint - 2, "tr_r1_high": joint + 2}}
    out = Path("reports", preset)
    out.mkdir(parents=True, exist_ok=True)
    (out / "metrics.json").write_text(json.dumps(metrics, indent=2, sort_keys=True))
    (out / "report.html").write_text(f"<h1>{params['title']}</h1>")


if __name__ == "__main__":
    stage, preset, *rest = sys.argv[1:]
    params = yaml.safe_load(Path("presets", f"{preset}.yaml").read_text())[stage]
    {"collect": collect, "immunize": immunize, "report": report}[stage](preset, params, *rest)
