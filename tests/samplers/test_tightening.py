"""A tighter string stays below L₀, between the same ends, and is no longer."""

import itertools

import numpy as np
import pytest
from test_dss import LEFT, RIGHT, ring

import nconvex as nc
from nconvex.definitions import NconvexError, child


def test_a_string_round_a_ring_is_pulled_onto_its_inner_edge():
    landscape = ring()
    string = nc.connect(landscape, LEFT, RIGHT, L0=0.2, alpha=0.5)
    tightening = nc.tighten(landscape, string)
    after = tightening.after
    assert after.connected
    np.testing.assert_array_equal(after.beads[[0, -1]], [LEFT, RIGHT])
    # The shortest path below 0.2 hugs the circle (1 - r²)² = 0.1 and leaves it along tangents.
    radius = np.sqrt(1 - np.sqrt(0.1))
    shortest = 2 * (np.sqrt(1 - radius**2) + radius * (np.pi / 2 - np.arccos(radius)))
    assert shortest < after.path_length < 1.06 * shortest < string.path_length
    assert tightening.normalized_lengths == (string.normalized_length, after.normalized_length)


def test_beads_that_are_not_needed_are_dropped():
    bowl = nc.FunctionLandscape(lambda x: 1 + x @ x, lambda x: 2 * x)
    detour = nc.string_through(bowl, np.array([[-1.0, 0], [0, 1], [0.5, 0.8], [1, 0]]), L0=2.0)
    tightening = nc.tighten(bowl, detour)
    assert tightening.beads == (2, 0)
    assert tightening.after.normalized_length == 1.0


def test_a_certified_string_stays_certified():
    problem = nc.quad.problem(seed=0, samples=200)
    ends = [nc.train(problem, 1e-4, child(0, end)).theta for end in (1, 2)]
    string = nc.connect(problem, *ends, L0=1e-4, sampler="revive")
    after = nc.tighten(problem, string).after
    assert after.connected
    assert after.certified
    assert after.n_beads < string.n_beads
    assert after.path_length < string.path_length
    assert (after.trace, after.alpha, after.depth) == (string.trace, string.alpha, string.depth)
    for left, right in itertools.pairwise(after.beads):
        assert problem.gamma(left, right, np.linspace(0, 1, 201)).max() <= 1e-4


def test_only_connected_strings_are_tightened():
    string = nc.connect(ring(), LEFT, RIGHT, L0=0.2, depth=0)
    with pytest.raises(NconvexError, match="only a connected string"):
        nc.tighten(ring(), string)


def test_the_command_tightens(capsys):
    import json

    from nconvex import quad

    arguments = ["--seed", "1", "--json", "--quiet"]
    assert quad.main(arguments) == 0
    loose = json.loads(capsys.readouterr().out)
    assert quad.main([*arguments, "--tighten"]) == 0
    tight = json.loads(capsys.readouterr().out)
    assert loose["before_tightening"] is None
    assert tight["before_tightening"] == {
        "n_beads": loose["n_beads"],
        "normalized_length": loose["normalized_length"],
    }
    assert tight["normalized_length"] < loose["normalized_length"]
    assert tight["max_error"] <= tight["L0"]
    assert quad.main(["--seed", "1", "--tighten", "--no-figure", "--quiet"]) == 0
    assert f"tightened from  {loose['n_beads']} beads" in capsys.readouterr().out
