"""The string as a value: turned round, put together, judged although it was given."""

import attack_files
import numpy as np
import pytest

import nconvex as nc
from nconvex.definitions import ConnectionStatus, NconvexError
from nconvex.files import read_arrays, write_arrays
from nconvex.string import joined

problem = nc.quad.problem(seed=0, samples=100)
A, B, C = (nc.train(problem, L0=1e-2, seed=seed).theta for seed in (1, 2, 3))


def test_a_given_path_is_judged_as_strictly_as_our_own():
    string = nc.connect(problem, A, B, L0=1e-2, depth=12)
    again = nc.string_through(problem, string.beads, L0=1e-2)
    assert string.connected
    assert again.connected
    assert again.certified
    assert (again.sampler, again.gradient_evaluations) == ("given", 0)
    np.testing.assert_array_equal(again.segment_upper, string.segment_upper)
    line = nc.string_through(problem, [A, B], L0=1e-2)
    assert line.status is ConnectionStatus.PATH_ABOVE_L0
    assert line.failures == (0,)


@pytest.mark.parametrize(
    ("beads", "words"),
    [
        ([A], "two models"),
        ([A, B[:-1]], r"beads\[1\] has 32"),
        ([A, np.nan * B], r"beads\[1\]\[0\]"),
    ],
)
def test_a_path_that_is_none_is_refused(beads, words):
    with pytest.raises(NconvexError, match=words):
        nc.string_through(problem, beads, L0=1e-2)


def test_strings_are_turned_round_and_joined():
    first = nc.connect(problem, B, A, L0=1e-2, depth=12)
    second = nc.connect(problem, B, C, L0=1e-2, depth=12)
    whole = joined([first.reversed(), second])
    np.testing.assert_array_equal(whole.beads[[0, -1]], [A, C])
    assert len(whole.beads) == len(first.beads) + len(second.beads) - 1
    judged = nc.string_through(problem, whole.beads, L0=1e-2)
    np.testing.assert_allclose(whole.losses, judged.losses, rtol=0, atol=0)
    assert len(whole.segment_upper) == len(whole.beads) - 1
    for k, (t, lower) in enumerate(zip(whole.segment_t_star, whole.segment_lower, strict=True)):
        height = problem.gamma(whole.beads[k], whole.beads[k + 1], np.array([t]))[0]
        assert height == pytest.approx(lower, rel=1e-6)


LIES = {
    "an upper bound below the lower one": lambda a: {"segment_upper": 0.5 * a["segment_lower"]},
    "lowered bounds": lambda a: {
        name: np.full_like(a[name], 1e-9) for name in ("segment_lower", "segment_upper")
    },
    "a loss that is no number": lambda a: {"losses": np.nan * a["losses"]},
    "a loss above the bounds": lambda a: {"losses": 1.1 * a["losses"] + 1.0},
    "a bound that is no number": lambda a: {"segment_upper": np.nan * a["segment_upper"]},
    "t* beyond 1": lambda a: {"segment_t_star": a["segment_t_star"] + 7.0},
    "t* that is no number": lambda a: {"segment_t_star": np.nan * a["segment_t_star"]},
    "a status that contradicts": lambda a: {
        "segment_status": np.full_like(a["segment_status"], "PATH_ABOVE_L0", dtype="U20")
    },
    "certified as text": lambda a: {"certified": np.array("False")},
    "certified as a number": lambda a: {"certified": np.array(1)},
    "L0 as text": lambda a: {"L0": np.array("0.01")},
    "L0 below 0": lambda a: {"L0": np.array(-0.01)},
    "no L0": lambda a: {"L0": np.array(np.nan)},
    "L0 in half precision": lambda a: {"L0": np.array(0.01, np.float16)},
    "alpha above 1": lambda a: {"alpha": np.array(2.0)},
    "a depth below 0": lambda a: {"depth": np.array(-1)},
    "a depth that is none": lambda a: {"depth": np.array(1.5)},
    "a seed below 0": lambda a: {"seed": np.array([-1])},
    "no seed": lambda a: {"seed": np.zeros(0, np.int64)},
    "numbers for words": lambda a: {"segment_status": np.arange(len(a["segment_status"]))},
    "complex beads": lambda a: {"beads": a["beads"].astype(np.float32)},
    "a lower bound above the upper": lambda a: {"segment_lower": 2 * a["segment_upper"]},
    "steps below 0": lambda a: {"trace_steps": -1 - a["trace_steps"]},
    "steps that are no numbers": lambda a: {"trace_steps": a["trace_place"]},
    "a place off the tree": lambda a: {"trace_place": np.full(len(a["trace_steps"]), "X")},
    "a format in a list": lambda a: {"format": np.array([3])},
    "a format that is text": lambda a: {"format": np.array("3")},
}


@pytest.mark.parametrize("lie", LIES)
def test_a_file_that_lies_is_refused_in_one_line(tmp_path, lie):
    path = tmp_path / "string.npz"
    nc.connect(problem, A, B, L0=1e-2, depth=12).save(path, problem)
    arrays = read_arrays(path)
    write_arrays(path, {**arrays, **LIES[lie](arrays)})
    with pytest.raises(NconvexError, match=r"string\.npz") as refused:
        nc.load_string(path)
    assert "\n" not in str(refused.value)


def test_what_a_file_says_is_claimed_until_it_is_computed_again(tmp_path):
    path = tmp_path / "string.npz"
    string = nc.connect(problem, A, B, L0=1e-2, depth=12)
    string.save(path, problem)
    arrays = read_arrays(path)
    other = np.random.default_rng(0).normal(size=string.beads.shape)
    write_arrays(path, {**arrays, "beads": other})  # with the bounds of the true beads
    claim = nc.load_string(path)
    assert claim.connected
    assert (claim.certified, claim.evidence) == (False, "claimed")
    truth = nc.load_string(path, problem)
    assert (truth.certified, truth.evidence, truth.connected) == (True, "proven", False)
    assert ConnectionStatus.CONNECTED not in truth.segment_status
    np.testing.assert_array_equal(truth.losses, [problem.loss(theta) for theta in other])
    with pytest.raises(NconvexError, match="has 33"):
        nc.load_string(path, nc.quad.problem(model=nc.MLP((1, 5, 1)), samples=10))


def test_mutated_files_are_refused_claimed_or_proven_as_they_deserve():
    assert " refused" in attack_files.strings(12, seed=1)


def test_a_sampled_string_says_so():
    class Sampled:
        loss, gamma, descend = problem.loss, problem.gamma, problem.descend

    string = nc.string_through(Sampled(), [A, A], L0=1e-2)
    assert (string.certified, string.evidence) == (False, "sampled")


def test_a_lower_bound_is_saved_beside_its_string(tmp_path):
    X, Y = np.array([[0.0, 1.0], [1.0, -0.5], [-1.0, -0.5]]), np.eye(3)[:, :2]
    small = nc.Problem(nc.MLP((2, 3, 2), biases=False), "mse", X, Y, X, Y)
    ends = np.random.default_rng(0).normal(size=(2, 12))
    bound = nc.lower_bounds.lower_bound(small, *ends, narrower=0.01)
    nc.string_through(small, ends, L0=1.0).save(tmp_path / "string.npz", small, bound)
    back = nc.load_string(tmp_path / "string.npz").description
    assert back["lower_bound"].item() == bound.value
    assert tuple(back["lower_bound_signs"].tolist()) == bound.signs
    assert back["lower_bound_reason"].item() == bound.reason.name
    assert back["X_test"].tolist() == X.tolist()
