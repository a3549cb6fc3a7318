"""What many tests share: a tiny captioned world with tiny models, and a toy project of the real one's shape."""

from __future__ import annotations

import inspect
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, get_type_hints

import jaxtyping
import pytest
from beartype import beartype
from hypothesis import settings

if TYPE_CHECKING:  # the flows are tested without torch
    from mlflow import MlflowClient

    from immunize.data.loader import Pairs
    from immunize.models import Clip
    from immunize.models.initial import Small

PROJECT = Path(__file__).parents[1]
TOY = Path(__file__).parent / "flows" / "toy"
Shell = Callable[..., str]
jaxtyped = jaxtyping.jaxtyped


def checked(fn: Any = None, **how: Any) -> Any:
    """What `--jaxtyping-packages` puts around every function; beartype alone where no array's shape is named.

    To compare shapes, jaxtyping binds every call's arguments, for longer than a small function takes.
    """
    if fn is None:
        return lambda one: checked(one, **how)
    inner = "<locals>" in getattr(fn, "__qualname__", "")  # beartype would keep what it closes over until a collection
    if inspect.isfunction(fn) and not inner and not inspect.isgeneratorfunction(fn) and not _names_arrays(fn):
        return beartype(fn)
    if isinstance(fn, classmethod | staticmethod):
        return type(fn)(checked(fn.__func__, **how))
    if isinstance(fn, property):
        return property(*(one and checked(one, **how) for one in (fn.fget, fn.fset, fn.fdel)))
    return jaxtyped(fn, **how)


def _names_arrays(fn: Any) -> bool:
    """Whether a hint of the function has a shape in it, or cannot be told yet."""
    try:
        hints = get_type_hints(fn, include_extras=True)
    except (NameError, AttributeError, TypeError):
        return True
    return any("jaxtyping" in repr(hint) for hint in hints.values())


jaxtyping.jaxtyped = checked  # before a test imports what is to be checked


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `--dist loadgroup` a file's tests share a worker and its fixtures; so do those that need the server, which mostly
    wait, and those of one case of a contract. What takes long is begun first, and the smallest groups end it."""
    slow, places = {item.path for item in items if item.get_closest_marker("slow")}, {}
    for item in items:
        case = getattr(item, "callspec", None) if item.path.name.startswith("test_contract") else None
        served = "up" in getattr(item, "fixturenames", ())
        group = "server" if served else f"{item.path.parent} {case.id}" if case else str(item.path)
        item.add_marker(pytest.mark.xdist_group(group))
        places[item] = not served, item.path not in slow, case is not None
    items.sort(key=places.__getitem__)


settings.register_profile("fuzz", max_examples=10_000)  # `make fuzz`


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: has servers, several processes or kills, or takes ten seconds")


@pytest.fixture(scope="session")
def isolated(tmp_path_factory: pytest.TempPathFactory) -> Iterator[pytest.MonkeyPatch]:
    """Child processes see this code, report nothing home, and keep their databases in a temporary folder."""
    folder = tmp_path_factory.mktemp("homes")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(PROJECT / "flows"))
        from environment import environment

        for name, value in environment(PROJECT).items():
            patch.setenv(name, value)
        patch.setenv("DVC_SITE_CACHE_DIR", str(folder / "dvc"))
        patch.setenv("PREFECT_HOME", str(folder / "prefect"))
        patch.setenv("OMP_NUM_THREADS", "1")
        for name in ("PREFECT_API_URL", "MLFLOW_TRACKING_URI", "GIT_DIR", "GIT_WORK_TREE"):
            patch.delenv(name, raising=False)
        for role in ("AUTHOR", "COMMITTER"):
            patch.setenv(f"GIT_{role}_NAME", "Toy")
            patch.setenv(f"GIT_{role}_EMAIL", "toy@example.org")
        yield patch


@pytest.fixture(scope="session")
def shell(isolated: pytest.MonkeyPatch) -> Shell:
    """shell("git", "log", cwd=folder): what it printed; fails the test where the command does."""

    def call(*command: str, cwd: Path) -> str:
        if command[0] == "dvc":
            command = (sys.executable, "-m", *command)
        done = subprocess.run(command, cwd=cwd, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return call


@pytest.fixture(scope="session")
def finished_toy(tmp_path_factory: pytest.TempPathFactory, shell: Shell) -> Path:
    """The toy after `dvc repro`, committed; not to be changed."""
    root = tmp_path_factory.mktemp("finished") / "toy"
    shutil.copytree(TOY, root)
    for command in ("git init -q -b main", "dvc init -q", "dvc repro -q", "git add -A", "git commit -q -m first"):
        shell(*command.split(), cwd=root)
    return root


@pytest.fixture
def toy(finished_toy: Path, tmp_path: Path) -> Path:
    """A copy of the finished toy, to be changed at will."""
    return Path(shutil.copytree(finished_toy, tmp_path / "toy", symlinks=True))


@pytest.fixture(scope="session")
def empty_database(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An mlflow.db with its tables: making them takes longer than a test."""
    from mlflow import MlflowClient

    path = tmp_path_factory.mktemp("mlflow") / "mlflow.db"
    MlflowClient(f"sqlite:///{path}").search_experiments()
    return path


@pytest.fixture
def client(toy: Path, empty_database: Path) -> MlflowClient:
    """The registry of the toy."""
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{shutil.copy(empty_database, toy / 'mlflow.db')}")


@pytest.fixture
def preset_line(toy: Path) -> Callable[[str, str], None]:
    """preset_line("joint: 12.0", "joint: 8.0") edits the preset of the toy."""

    def replace(old: str, new: str) -> None:
        path = toy / "presets" / "toy.yaml"
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))

    return replace


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A collect folder of the scenes source: 96 images to train on, 16 to validate, 24 to test, two captions each."""
    from immunize.data.collect import collect
    from immunize.data.scenes import Scenes

    folder = tmp_path_factory.mktemp("world")
    source = Scenes(counts={"train": 96, "validation": 16, "test": 24}, size=32, captions=2, seed=0)
    collect(source, folder, size=32, max_characters=300, max_rejected=0.0)
    return folder


@pytest.fixture(scope="session")
def pairs(world: Path) -> Pairs:
    """The training pairs of the world."""
    from immunize.data.loader import Pairs

    return Pairs.read(world, "train")


@pytest.fixture(scope="session")
def held_out(world: Path) -> Pairs:
    """The test pairs of the world."""
    from immunize.data.loader import Pairs

    return Pairs.read(world, "test")


@pytest.fixture(scope="session")
def small() -> Small:
    """The recipe of a model with every part of a real one and 60,000 weights."""
    from immunize.models import Normalization
    from immunize.models.initial import Small

    return Small(
        vision={"timm_model_name": "resnet10t", "timm_pool": "avg", "timm_proj": "linear", "image_size": 32},
        text={"width": 32, "heads": 2, "layers": 1},
        normalization=Normalization(size=32),
        embed_dim=16,
        vocabulary=200,
        context=48,
        trunk={"channels": [8, 8, 16, 16]},
    )


@pytest.fixture
def fresh_model(small: Small, pairs: Pairs) -> Clip:
    """An untrained model of one's own."""
    return small.make(pairs.captions, 0)


@pytest.fixture(scope="session")
def taught(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> Callable[[Small], Clip]:
    """taught(recipe): a model that tells the training pairs apart, in evaluation mode; not to be changed."""
    from immunize.defense.method import Method
    from immunize.defense.terms import Contrast
    from immunize.defense.train import Training, train

    def teach(recipe: Small) -> Clip:
        model = recipe.make(pairs.captions, 0)
        training = Training(steps=60, batch=48, lr=5e-3, warmup=4)
        list(train(model, pairs, Method((Contrast(),)), training, tmp_path_factory.mktemp("scratch")))
        model.zero_grad(set_to_none=True)
        return model

    return teach


@pytest.fixture(scope="session")
def trained(small: Small, taught: Callable[[Small], Clip]) -> Clip:
    """The small model, taught."""
    return taught(small)


@pytest.fixture(scope="session")
def language_folder(pairs: Pairs, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A saved masked language model, trained for a moment on the captions."""
    import torch

    from immunize.models import language
    from immunize.models.masking import fit

    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = language.fresh(pairs.captions, vocabulary=600, width=32, layers=1, length=48)
    list(fit(model, pairs.captions, steps=30, batch=32, lr=3e-3, seed=0))
    folder = tmp_path_factory.mktemp("language")
    model.save(folder)
    return str(folder)
