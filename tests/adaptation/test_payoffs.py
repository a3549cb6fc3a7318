"""The tensor: what it refuses, what it computes, and that the disk gives back what it got."""

from dataclasses import replace
from math import inf
from pathlib import Path

import jaxtyping
import numpy as np
import pytest

from immunize.adaptation.payoffs import SHAPES, Payoffs, Scale, weight


def payoffs(n: int = 5, z: int = 3, a: int = 2, f: int = 4, seed: int = 0) -> Payoffs:
    rng = np.random.default_rng(seed)
    sizes = {"n": n, "z": z, "a": a, "f": f}
    arrays = {name: rng.random([sizes[axis] for axis in axes.split()]) for name, axes in SHAPES.items()}
    words = {key: tuple(f"{key}{i}" for i in range(k)) for key, k in (("regimes", z), ("actions", a), ("names", f))}
    return Payoffs(**arrays, **words, alpha=0.5)  # type: ignore[arg-type]


def test_reward_is_what_the_formula_says() -> None:
    p = payoffs()
    assert p.reward[3, 2, 1] == pytest.approx(-(p.consistency[3, 2, 1] + 0.5 * p.adversarial[3, 2, 1]))
    assert p.literal[3, 2, 1] == pytest.approx(-(p.received[3, 2, 1] + 0.5 * p.adversarial[3, 2, 1]))
    assert np.array_equal(p.weighed(0.0).reward, -p.consistency)
    assert np.array_equal(p.weighed(inf).reward, -p.adversarial)
    assert p.table[2, 1] == pytest.approx(np.mean([p.reward[i, 2, 1] for i in range(5)]))


@pytest.mark.parametrize("name", [*SHAPES])
def test_what_is_not_finite_is_refused_by_name_and_place(name: str) -> None:
    p = payoffs()
    bad = getattr(p, name).copy()
    bad.flat[-1] = np.nan
    with pytest.raises(ValueError, match=rf"{name} is not finite, first at \["):
        replace(p, **{name: bad})


@pytest.mark.parametrize("name", ["received", "mismatched", "latency", "features"])
def test_a_shape_that_does_not_fit_is_refused_by_name(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """As it is served, without the tests' own checks of shapes."""
    p = payoffs()
    monkeypatch.setattr(jaxtyping.config, "jaxtyping_disable", True)
    with pytest.raises(ValueError, match=f"{name} has shape"):
        replace(p, **{name: getattr(p, name)[..., :-1]})


def test_names_are_there_once() -> None:
    with pytest.raises(ValueError, match="regimes must be there, each once"):
        replace(payoffs(), regimes=("a", "b", "a"))
    with pytest.raises(ValueError, match="alpha is nan"):
        replace(payoffs(), alpha=float("nan"))


@pytest.mark.parametrize("alpha", [0.5, inf])
def test_the_disk_gives_back_what_it_got(tmp_path: Path, alpha: float) -> None:
    before = payoffs().weighed(alpha)
    before.save(tmp_path)
    after = Payoffs.read(tmp_path)
    assert (after.regimes, after.actions, after.names, after.alpha) == (
        before.regimes,
        before.actions,
        before.names,
        alpha,
    )
    assert all(np.array_equal(getattr(after, name), getattr(before, name)) for name in SHAPES)


def test_an_empty_folder_says_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="is the stage that fills the payoffs done"):
        Payoffs.read(tmp_path)


@pytest.mark.parametrize("alpha", [0.5, inf])
def test_abstaining_earns_its_pay_at_any_alpha(alpha: float) -> None:
    p = payoffs().weighed(alpha).abstaining(-0.7)
    assert p.actions[-1] == "abstain"
    assert p.reward[..., -1] == pytest.approx(-0.7) and p.latency[-1] == 0
    assert np.array_equal(p.reward[..., :-1], payoffs().weighed(alpha).reward)


def test_regimes_are_picked_in_the_order_asked_for() -> None:
    p = payoffs()
    q = p.under(("regimes2", "regimes0"))
    assert np.array_equal(q.reward, p.reward[:, [2, 0]]) and np.array_equal(q.mismatched, p.mismatched[[2, 0]])
    with pytest.raises(ValueError, match="no regime"):
        p.under(("clean",))


def test_scaled_payoffs_have_chance_at_zero_and_one_of_headroom() -> None:
    p = payoffs(n=50)
    table = Scale.of(p)(p.table)
    assert table.mean() == pytest.approx(0)
    assert (table.max(axis=1) - table.mean(axis=1)).mean() == pytest.approx(1)
    same = replace(p, consistency=p.consistency * 0, adversarial=p.adversarial * 0)
    with pytest.raises(ValueError, match="nothing to learn"):
        Scale.of(same)


def test_alpha_makes_both_terms_vary_alike() -> None:
    p = payoffs(n=200)
    alpha = weight(p.consistency, 30 * p.adversarial)
    assert (alpha * 30 * p.adversarial).std() == pytest.approx(p.consistency.std())


def test_permuted_payoffs_keep_their_values_and_lose_their_actions() -> None:
    p = payoffs(n=4000, a=3)
    biased = replace(p, consistency=p.consistency + np.array([0.0, 1.0, 2.0]))
    dealt = biased.permuted(np.random.default_rng(0))
    assert np.allclose(np.sort(dealt.reward, axis=-1), np.sort(biased.reward, axis=-1))
    assert np.ptp(biased.table, axis=1).min() > 1.5 and np.ptp(dealt.table, axis=1).max() < 0.1
