"""The whole graph with the preset `smoke`, in a temporary copy of the working tree: the real pipeline, made tiny.

python flows/smoke.py [PRESET]
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from environment import environment
from immunize.pipeline.choose import params

ROOT = Path(__file__).parents[1]


def main(preset: str = "smoke") -> None:
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / "immunize"
        copy.mkdir()
        files = subprocess.check_output(
            ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"], cwd=ROOT, text=True
        )
        present = [name for name in files.split("\0") if name and (ROOT / name).is_file()]
        for name in present:
            target = copy / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes((ROOT / name).read_bytes())
        (copy / "params.yaml").write_text(params(preset, copy))
        _reproduce(copy)
        start = time.monotonic()
        again = _reproduce(copy)
        print(f"again: {time.monotonic() - start:.1f} s")
        if "Data and pipelines are up to date" not in again:
            sys.exit("the second `dvc repro` ran a stage: some dependency is written by the pipeline itself")
        shown = ROOT / ".cache" / "smoke"
        shutil.rmtree(shown, ignore_errors=True)
        shutil.copytree(copy / "reports" / preset, shown)
        print(f"report: {shown / 'report.html'}")


def _reproduce(root: Path) -> str:
    """`dvc repro` in `root`, shown as it runs; exits with its code when it fails."""
    commands = [["git", "init", "--quiet"], [sys.executable, "-m", "dvc", "repro"]]
    printed = ""
    for command in commands:
        with subprocess.Popen(command, cwd=root, env=environment(root), stdout=subprocess.PIPE, text=True) as child:
            for line in child.stdout or ():
                print(line, end="", flush=True)
                printed += line
        if child.returncode:
            sys.exit(child.returncode)
    return printed


if __name__ == "__main__":
    main(*sys.argv[1:])
