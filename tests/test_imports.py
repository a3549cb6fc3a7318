"""Nothing happens at import, and the house keeps its rules of size and naming."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "immunize"
FILES = sorted(SOURCE.rglob("*.py"))

# The first round loads what others wrote, which may do as it likes; in the second only our own lines run.
CHILD = """
import importlib, json, os, pkgutil, random, sys
import immunize
names = ["immunize", *(m.name for m in pkgutil.walk_packages(immunize.__path__, "immunize."))]
for name in names:
    importlib.import_module(name)
import numpy, torch
for name in names:
    del sys.modules[name]
state = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), dict(os.environ)
seen, active, home = [], [True], os.path.dirname(immunize.__file__)

def blame():
    frame = sys._getframe(2)
    while frame is not None and not frame.f_code.co_filename.startswith(home):
        frame = frame.f_back
    return frame and f"{os.path.relpath(frame.f_code.co_filename, home)}:{frame.f_lineno}"

def watch(event, given):
    if not active:
        return
    writes = event == "open" and isinstance(given[1], str) and set(given[1]) & set("wax+")
    if writes or event.split(".")[0] in ("socket", "subprocess", "shutil") or event in ("os.mkdir", "os.remove", "os.system"):
        if "__pycache__" not in str(given[0]) or not writes:
            seen.append(f"{event} {str(given[0])[:80]} at {blame()}")

class Environment(dict):
    def __getitem__(self, key):
        where = blame()
        if active and where:
            seen.append(f"environment {key} at {where}")
        return dict.get(self, key)
    def get(self, key, default=None):
        return self[key] if key in self or (active and blame()) else default

os.environ = Environment(os.environ)
sys.addaudithook(watch)
for name in names:
    importlib.import_module(name)
active.clear()
after = random.getstate(), numpy.random.get_state()[1].tolist(), torch.get_rng_state().tolist(), dict(os.environ)
if state != after:
    seen.append("a global random state or the environment changed")
print(json.dumps([len(names), seen]))
"""


def imported(code: str, cwd: Path) -> tuple[int, list[str]]:
    done = subprocess.run([sys.executable, "-B", "-c", code], cwd=cwd, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    count, seen = json.loads(done.stdout.splitlines()[-1])
    return count, seen


def test_nothing_happens_at_import(tmp_path: Path) -> None:
    """No file, no socket, no process, no seed, no look at the environment: any module, in an empty folder."""
    count, seen = imported(CHILD, tmp_path)
    assert count == len(FILES) and seen == []
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_a_file_fits_its_limits(path: Path) -> None:
    """At most 250 lines, a function at most 50; a name that says what is inside."""
    text = path.read_text()
    assert len(text.splitlines()) <= 250
    assert path.stem not in ("utils", "util", "base", "common", "helpers", "misc")
    tree = ast.parse(text)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            assert (node.end_lineno or 0) - node.lineno < 50, node.name
    assert ast.get_docstring(tree), "a module says what it is"


def test_words_and_habits_that_are_not_ours() -> None:
    """American spelling; wrapping instead of inheriting; randomness as an argument; nothing unpickled."""
    forbidden = {
        r"defence|colour|behaviou?r\b(?<=iour)|normalis|optimis|maximis|minimis|tokenis|grey\b|centre\b|neighbour": "spelling",
        r"\bsuper\(\)|\bhasattr\(": "inheritance",
        r"^\s*(import|from) (random|pickle)\b": "global randomness or pickle",
        r"\bTODO\b|\bFIXME\b": "unfinished",
        r"np\.random\.(seed|rand|randint|choice|shuffle|normal)\(": "global randomness",
        r"weights_only=False": "unpickling",
    }
    found = [
        f"{path.relative_to(ROOT)}:{number}: {reason}: {line.strip()}"
        for path in FILES
        for number, line in enumerate(path.read_text().splitlines(), 1)
        for pattern, reason in forbidden.items()
        if re.search(pattern, line)
    ]
    assert found == []


def test_mean_and_standard_deviation_stand_in_one_file() -> None:
    pattern = re.compile(r"\b(mean|std)\b\s*(:[^=]*)?=\s*[\[(]\s*[\d.]")
    assert [path.name for path in FILES if pattern.search(path.read_text())] == ["pixels.py"]
