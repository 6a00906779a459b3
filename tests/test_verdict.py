"""What a verdict says: what it rests on, which beads it counts, and what would help."""

import dataclasses

import numpy as np
import pytest

import nconvex as nc
from nconvex.definitions import Move

LEFT, RIGHT = np.array([-1.0, 0.01]), np.array([1.0, 0.02])


def ring(train_radius=1.0, budget=2000):
    """Losses are lowest, 0.1, at a radius of 1; descents lead to another one if asked to."""
    return nc.FunctionLandscape(
        lambda x: 0.1 + (x @ x - 1.0) ** 2,
        lambda x: 4.0 * (x @ x - train_radius**2) * x,
        nc.RMSProp(learning_rate=1e-2, budget=budget, check_every=1),
    )


def test_a_bead_between_alpha_L0_and_L0_is_kept_and_counted():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2, alpha=0.4)  # alpha L0 = 0.08 < 0.1
    assert string.connected
    assert string.beads_above_target == string.n_beads > 0
    assert (string.losses <= 0.2).all()
    within = nc.connect(ring(), LEFT, RIGHT, L0=0.2, alpha=0.9)
    assert within.beads_above_target == 0
    assert all(step.move is Move.INSERT for step in within.trace)


def test_a_descent_that_passes_L0_and_rises_again_is_repeated_down_to_L0():
    string = nc.connect(ring(train_radius=1.5), LEFT, RIGHT, L0=0.2, alpha=0.4)
    first, again = string.trace[:2]
    assert (first.move, again.move) == (Move.INSERT, Move.REPEAT)
    assert again.loss_after <= 0.2 < first.loss_after
    assert again.steps < first.steps
    assert (first.place, first.t_star) == (again.place, again.t_star)
    assert string.connected


def test_a_descent_is_repeated_only_while_alpha_L0_was_never_reached():
    surface = ring()

    class Tiring:  # the first bead is trained, then nothing any more
        loss, gamma = surface.loss, surface.gamma

        def descend(self, theta, target, rng):
            first = surface.descend(theta, target, rng)
            self.descend = ring(train_radius=0.1, budget=1).descend
            return first

    string = nc.connect(Tiring(), LEFT, RIGHT, L0=0.11, alpha=0.95)
    assert [step.place for step in string.trace] == ["", "L", "R"]
    assert {step.move for step in string.trace} == {Move.INSERT}


def test_it_says_whether_alpha_is_out_of_reach_or_the_depth_was_too_little():
    low = nc.connect(ring(), LEFT, RIGHT, L0=0.15, alpha=0.4, depth=1)
    assert low.status is nc.ConnectionStatus.DEPTH_EXHAUSTED
    assert "alpha L0 = 0.06 seems out of reach: the best bead got to 0.1" in low.verdict
    assert low.verdict.endswith("; try alpha = 0.69")
    assert nc.connect(ring(), LEFT, RIGHT, L0=0.15, alpha=0.69, depth=9).connected
    high = nc.connect(ring(), LEFT, RIGHT, L0=0.15, alpha=0.9, depth=1)
    assert high.verdict == "not connected: segments above L0 are left at the full depth"


def test_where_even_L0_is_out_of_reach_a_higher_one_is_named():
    string = nc.connect(ring(train_radius=0.7), LEFT, RIGHT, L0=0.2, alpha=0.8)
    assert string.status is nc.ConnectionStatus.BEAD_UNTRAINABLE
    best = min(step.loss_after for step in string.trace)
    assert best > 0.2
    assert string.verdict.endswith(f"; try L0 = {1.03 * best / 0.8:.3g}")
    assert "a bead stayed above L0" in string.verdict


def test_proven_sampled_and_claimed_paths_have_different_words(tmp_path):
    problem = nc.quad.problem(samples=50)
    proven = nc.run_pair(problem, L0=1e-2, seed=0).string
    assert proven.verdict == "connected: the loss is at most L0 all along the path"
    proven.save(tmp_path / "string.npz")
    claimed = nc.load_string(tmp_path / "string.npz")
    assert claimed.verdict.endswith("all along the path, a file claims")
    sampled = nc.connect(ring(), LEFT, RIGHT, L0=0.2)
    assert sampled.verdict.endswith("at every point of the path that was sampled")
    assert "all along" not in sampled.verdict + sampled.status.value


def test_a_sampled_verdict_says_what_stood_in_the_way():
    surface = ring()
    surface.reason = "layer 2, a Transformer, has no bound"
    strings = (
        nc.connect(surface, LEFT, RIGHT, L0=0.2),
        nc.string_through(surface, [LEFT, RIGHT], L0=0.2),
    )
    for string in strings:
        assert string.verdict.endswith(
            "; sampled, not proven: layer 2, a Transformer, has no bound"
        )
    proven = dataclasses.replace(
        strings[0], peaks=tuple(dataclasses.replace(p, certified=True) for p in strings[0].peaks)
    )
    assert "Transformer" not in proven.verdict


def test_starts_that_all_diverge_are_told_from_those_that_stay_above():
    def starting(*slopes):
        left = iter(slopes)
        return nc.FunctionLandscape(
            lambda x: 2.0 if abs(x[0]) < 2.0 else np.inf,
            lambda x: np.sign(x) * -1.0 if abs(x[0]) > 0.5 else 0.0 * x,
            nc.RMSProp(learning_rate=1.0, budget=50),
            lambda rng: np.array([next(left)]),
        )

    assert nc.train(starting(1.0, 1.1), L0=1.0, max_starts=2).status.name == "DIVERGED"
    assert nc.train(starting(1.0, 0.1), L0=1.0, max_starts=2).status.name == "UNTRAINABLE"


def test_a_pair_that_needs_no_training_is_warned_of():
    with pytest.warns(UserWarning, match=r"random starts lie below L0 .*; lower L0 = 1e9|1000000"):
        nc.run_pair(nc.quad.problem(samples=50), L0=1e9)
