"""The checker beside the compiled certificate, which shares no line with it, and fractions."""

import ast
import io
import itertools
import json
import shutil
import signal
import subprocess
import sys
import time
import tracemalloc
import zipfile
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest

import nconvex as nc
from nconvex import definitions, verify
from nconvex.files import read_arrays, write_arrays
from nconvex.kernels.parts import ACTIVATIONS, NONLINEAR

SOURCE = Path(verify.__file__)
QUAD = nc.quad.problem(seed=0, samples=50)
A, B = (nc.train(QUAD, L0=1e-2, seed=seed).theta for seed in (1, 2))
STRING = nc.connect(QUAD, A, B, L0=1e-2, depth=12)


@pytest.fixture
def file(tmp_path):
    STRING.save(tmp_path / "string.npz", QUAD)
    return tmp_path / "string.npz"


def changed(path, **arrays):
    """Change arrays of a file, or leave out those that are None."""
    kept = {**read_arrays(path), **arrays}
    write_arrays(path, {name: array for name, array in kept.items() if array is not None})
    return path


def run(capsys, *argv):
    status = verify.main([str(arg) for arg in argv])
    return status, *capsys.readouterr()


def random_problem(rng):
    """Any activations, loss and depth; classifiers, too."""
    loss = rng.choice(["mse", "mae", "huber", "log-cosh", "cross-entropy", "error"])
    labelled = loss in ("cross-entropy", "error")
    units = str(rng.choice(NONLINEAR))
    hidden = rng.integers(1, 9, rng.integers(labelled, 4))
    sizes = tuple(map(int, [rng.integers(1, 5), *hidden, rng.integers(1 + labelled, 4)]))
    n = int(rng.integers(1, 60))
    X, y = rng.normal(size=(n, sizes[0])), rng.normal(size=(n, sizes[-1]))
    if labelled:
        labels = y.argmax(axis=1)
        metric = "error" if loss == "error" else "loss"
        return nc.Classification(nc.MLP(sizes, units), X, labels, X, labels, metric=metric)
    output = str(rng.choice(["identity", *ACTIVATIONS]))
    return nc.Problem(nc.MLP(sizes, units, output, bool(rng.integers(2))), str(loss), X, y, X, y)


def random_path(rng, problem):
    scale = 10.0 ** rng.uniform(-1.0, 0.8)
    base = scale * rng.normal(size=problem.model.n_parameters)
    away = scale * 10.0 ** rng.uniform(-3.0, 0.0)
    return base + away * rng.normal(size=(rng.integers(2, 4), base.size))


def verdicts(seed, path, strings):
    """What the checker says of random paths, at thresholds on which the certificate is clear."""
    rng = np.random.default_rng(seed)
    for _ in range(strings):
        problem = random_problem(rng)
        beads = random_path(rng, problem)
        peaks = [problem.bracket(a, b) for a, b in itertools.pairwise(beads)]
        lower, upper = max(peak.lower for peak in peaks), max(peak.upper for peak in peaks)
        for L0, expected in ((1.1 * upper, "proven"), (0.9 * lower, "refuted")):
            if L0 > 0.0:
                nc.string_through(problem, beads, L0).save(path, problem)
                found = verify.search(verify.Path(path), L0)
                yield found, expected, (lower, upper)


@pytest.mark.parametrize("seed", range(4))
def test_it_agrees_with_the_compiled_certificate(tmp_path, seed):
    for found, expected, (lower, upper) in verdicts(seed, tmp_path / "string.npz", 30):
        assert found["verdict"] == expected
        assert found["lower"] <= upper
        assert found["upper"] is None or found["upper"] >= lower
        assert found["false_claims"] == []


def violations(path, strings=60):
    """Count random short intervals on which a bound here is below the certificate's maximum."""
    rng, count = np.random.default_rng(0), 0
    for _ in range(strings):
        problem = random_problem(rng)
        beads = random_path(rng, problem)[:2]
        nc.string_through(problem, beads, 1e9).save(path, problem)
        enclose = verify.Path(path).segment(0)
        for _ in range(3):
            r = 2.0 ** -int(rng.integers(1, 6))
            c = r * (1 + 2 * int(rng.integers(0.5 / r)))
            ends = [(1.0 - t) * beads[0] + t * beads[1] for t in (c - r, c + r)]
            lower = problem.bracket(*ends, gap=1e-6).lower
            count += enclose(c, r)[0] < lower * (1.0 - 1e-9) - 1e-12
    return count


def no_spread(linear):
    def injected(x, ends, c, r):
        a, e, D, E = linear(x, ends, c, r)
        return a, e, D, 0.0 * E

    return injected


def no_spread_of_losses(sums):
    return lambda x, *others: sums((*x[:3], 0.0 * x[3]), *others)


def left_end_only(sums):
    return lambda *args: sums(*args)[[0, 0, 2]]


def constant_slope(unit):
    def injected(x, name, r):
        a, e, D, E = unit(x, name, 1e-9 * r)
        return a, e, D, E

    return injected


def test_no_bound_is_below_the_certificates_maximum(tmp_path):
    with np.errstate(all="ignore"):
        assert violations(tmp_path / "string.npz") == 0


@pytest.mark.parametrize(
    ("name", "inject"),
    [
        ("linear", no_spread),
        ("unit", constant_slope),
        ("sums", no_spread_of_losses),
        ("sums", left_end_only),
    ],
)
def test_an_unsound_formula_here_is_caught_by_the_certificate(tmp_path, monkeypatch, name, inject):
    monkeypatch.setattr(verify, name, inject(getattr(verify, name)))
    assert violations(tmp_path / "string.npz") > 0


def test_an_unsound_certificate_is_caught_here(tmp_path, monkeypatch):
    spikes = np.array([1.0, 0.0, -1.0])
    ends = [
        np.array([*np.zeros(3), *((t - 0.505) * 2e3 + spikes), 1.0, -2.0, 1.0, 0.1]) for t in (0, 1)
    ]
    x = np.ones((1, 1))
    problem = nc.Problem(nc.MLP((1, 3, 1)), "mse", x, 0 * x, x, 0 * x)

    def grid(theta1, theta2, L0, known=None):
        highest = problem.gamma(theta1, theta2, np.linspace(0, 1, 101)).max()
        return definitions.Peak(0.0, highest, highest, certified=True)

    monkeypatch.setattr(problem, "max_gamma", grid)
    string = nc.string_through(problem, ends, L0=0.02)
    assert string.connected
    assert string.certified
    string.save(tmp_path / "string.npz", problem)
    found = verify.search(verify.Path(tmp_path / "string.npz"), 0.02)
    assert found["verdict"] == "refuted"
    assert found["t"] == pytest.approx(0.505, abs=1e-3)
    assert any("segment_upper[0]" in claim for claim in found["false_claims"])


def test_a_string_is_proven_in_a_sentence_and_as_a_document(file, capsys):
    status, out, err = run(capsys, file)
    assert (status, err) == (0, "")
    assert f"no weights of the 1-4-4-1 network on the path of {STRING.n_beads} beads have" in out
    status, out, _ = run(capsys, file, "--gap", "1e-3", "--json")
    found = json.loads(out)
    assert (status, found["verdict"], found["false_claims"]) == (0, "proven", [])
    assert found["upper"] <= 1.0011 * found["lower"]
    assert STRING.max_error_bounds[0] <= found["upper"]
    assert found["lower"] <= STRING.max_error_bounds[1]
    assert found["normalized_length"] == pytest.approx(STRING.normalized_length)
    status, out, _ = run(capsys, file, "--L0", "0.005", "--json")
    found = json.loads(out)
    assert (status, found["verdict"]) == (1, "refuted")
    point = f"{found['segment']}:{found['t']!r}"
    _, out, _ = run(capsys, file, "--L0", "0.005", "--exact", point, "--json")
    value, at_most_L0 = json.loads(out)["exact"][point]
    assert value == pytest.approx(found["lower"])
    assert not at_most_L0


def test_an_exact_value_that_cannot_be_had_is_refused_before_the_search(file, capsys, monkeypatch):
    monkeypatch.setattr(verify, "search", None)
    changed(file, activation=np.array("tanh"))
    for point in ("0:1/2", "9:0", "0:2", "x"):
        assert run(capsys, file, "--exact", point)[:2] == (2, "")


def test_a_string_that_is_read_is_saved_and_proven_again(file):
    string = nc.load_string(file)
    assert (string.evidence, string.certified) == ("claimed", False)
    string.save(file)
    assert verify.main([str(file)]) == 0
    again = nc.load_string(file, QUAD)
    assert (again.evidence, again.certified) == ("proven", True)
    np.testing.assert_array_equal(again.segment_upper, STRING.segment_upper)


TAMPERED = {
    "a bead is moved": lambda a: {
        "beads": a["beads"] + np.eye(len(a["beads"]), a["beads"].shape[1])
    },
    "a weight's last bits": lambda a: {"beads": a["beads"] * (1 + 2.0**-51)},
    "the claims are lowered": lambda a: {"segment_upper": 0.1 * a["segment_upper"]},
    "the losses are lowered": lambda a: {"losses": 0.1 * a["losses"]},
    "the test set is another": lambda a: {"y_test": a["y_test"][::-1]},
    "the inputs are another": lambda a: {"X_test": a["X_test"] + 0.01},
    "another loss": lambda a: {"loss": np.array("mae")},
    "another activation": lambda a: {"activation": np.array("tanh")},
    "not a number": lambda a: {"beads": np.where(a["beads"] > 0.9, np.nan, a["beads"])},
    "infinite": lambda a: {"X_test": np.where(a["X_test"] > 0.9, np.inf, a["X_test"])},
    "another size": lambda a: {"sizes": np.array([1, 4, 5, 1])},
    "no size": lambda a: {"sizes": np.array([1, 0, 4, 1])},
    "a huge size": lambda a: {"sizes": np.array([1, 2**40, 4, 1])},
    "a negative size": lambda a: {"sizes": np.array([1, -4, 4, 1])},
    "one bead": lambda a: {"beads": a["beads"][:1]},
    "a sample fewer": lambda a: {"y_test": a["y_test"][1:]},
    "no test set": lambda a: {"X_test": a["X_test"][:0], "y_test": a["y_test"][:0]},
    "without biases": lambda a: {"biases": np.array(False)},
    "text": lambda a: {"beads": np.array([["a", "b"]])},
    "half floats": lambda a: {"beads": a["beads"].astype(np.float16)},
    "a loss that clears the screen": lambda a: {"loss": np.array("\x1b[2Jmse")},
    "a first layer of 3 GB": lambda a: {
        "sizes": np.array([1, 2**17, 1]),
        "beads": np.zeros((2, 3 * 2**17 + 1)),
        "X_test": np.zeros((3000, 1)),
        "y_test": np.zeros((3000, 1)),
        "losses": np.zeros(2),
        "segment_lower": np.zeros(1),
        "segment_upper": np.zeros(1),
    },
    "an unknown loss": lambda a: {"loss": np.array("hinge")},
    "labels for targets": lambda a: {"loss": np.array("error")},
    "a threshold that is none": lambda a: {"L0": np.array(np.nan)},
    "two thresholds": lambda a: {"L0": np.array([1.0, 2.0])},
    "a claim too many": lambda a: {"losses": np.append(a["losses"], 0.0)},
    "no loss": lambda a: {"loss": None},
}


@pytest.mark.parametrize("how", TAMPERED)
def test_a_tampered_file_is_proven_only_if_it_is_true(file, capsys, how):
    arrays = read_arrays(file)
    changed(file, **TAMPERED[how](arrays))
    status, out, err = run(capsys, file, "--json")
    if status == 2:
        assert out == ""
        assert err.count("\n") == 1
        assert err.strip().isprintable()
        assert str(file) in err
        return
    now = read_arrays(file)
    model = nc.MLP((1, 4, 4, 1), now["activation"].item())
    problem = nc.Problem(model, now["loss"].item(), *2 * (now["X_test"], now["y_test"]))
    highest = max(
        problem.gamma(a, b, np.linspace(0, 1, 1001)).max()
        for a, b in itertools.pairwise(now["beads"])
    )
    assert (status == 0) == (highest <= now["L0"])
    lowered = how.startswith("the ") and how.endswith("lowered")
    assert bool(json.loads(out)["false_claims"]) >= lowered


def test_archives_that_are_damaged_or_too_large_are_refused(file, tmp_path, capsys):
    whole = file.read_bytes()
    damaged = {"cut": whole[: len(whole) // 2], "empty": b"", "text": b"no archive"}
    damaged["flipped"] = whole.replace(STRING.beads[0].tobytes(), STRING.beads[1].tobytes())
    arrays = read_arrays(file)
    for name, change in {
        "bomb": {"X_test": np.zeros((10**7, 1))},
        "object": {"X_test": np.array([{}], dtype=object)},
    }.items():
        stream = io.BytesIO()
        np.savez_compressed(stream, **{**arrays, **change})
        damaged[name] = stream.getvalue()
    packed = bytearray(damaged["bomb"])
    entry = packed.rindex(b"X_test.npy") - 46  # in the central directory
    packed[entry + 24 : entry + 28] = (1000).to_bytes(4, "little")  # of 80 million bytes
    damaged["bomb that lies"] = bytes(packed)
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_BZIP2) as archive:
        for name in arrays:
            archive.writestr(f"{name}.npy", zipfile.ZipFile(file).read(f"{name}.npy"))
    damaged["bzip2"] = stream.getvalue()
    stream = io.BytesIO(whole)
    with zipfile.ZipFile(stream, "a") as archive, pytest.warns(UserWarning, match="Duplicate"):
        archive.writestr("beads.npy", archive.read("beads.npy"))
    damaged["twice"] = stream.getvalue()
    paths = []
    for name, content in damaged.items():
        paths.append(tmp_path / f"{name}.npz")
        paths[-1].write_bytes(content)
    tracemalloc.start()
    device = "/dev/zero"  # has no end; elsewhere it does not exist, which is one line too
    status, out, err = run(capsys, *paths, tmp_path / "missing.npz", tmp_path, device, file)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert status == 2
    assert peak < 10**7
    assert out.count("\n") == 1  # the last one is good
    assert err.count("\n") == len(damaged) + 3


def test_compressed_files_and_those_in_another_order_are_read(file, capsys):
    arrays = read_arrays(file)
    arrays["beads"], arrays["X_test"] = np.asfortranarray(arrays["beads"]), arrays["X_test"]
    np.savez_compressed(file, **arrays)
    status, _, _ = run(capsys, file)
    assert status == 0
    assert nc.load_string(file, QUAD).certified


def wild(rng, shape):
    """Numbers of very different sizes."""
    sizes = [5e-324, 1e-308, 1e-160, 1e-30, 1.0, 1.0, 1e12, 1e140]
    return rng.normal(size=shape) * rng.choice(sizes, () if rng.integers(2) else shape)


def test_bounds_hold_in_rational_arithmetic_at_any_scale(tmp_path):
    rng, finite = np.random.default_rng(0), 0
    for _ in range(100):
        loss, biases = str(rng.choice(["mse", "mae", "error"])), bool(rng.integers(2))
        sizes = [int(size) for size in rng.integers(1, 5, rng.integers(3, 6))]
        sizes[-1] += loss == "error"
        n = int(rng.integers(1, 4))
        P = sum((k + biases) * m for k, m in itertools.pairwise(sizes))
        beads, X = wild(rng, (2, P)), wild(rng, (n, sizes[0]))
        labelled = loss == "error"
        y = rng.integers(sizes[-1], size=n) if labelled else wild(rng, (n, sizes[-1]))
        unit = str(rng.choice(["relu", "leaky-relu"]))
        units = {"activation": unit, "output_activation": "identity" if labelled else unit}
        claims = {"losses": np.zeros(2), "segment_lower": [0.0], "segment_upper": [0.0]}
        described = {"sizes": np.array(sizes), "biases": biases, "loss": loss, **units, **claims}
        np.savez(tmp_path / "s.npz", beads=beads, X_test=X, y_test=y, L0=1.0, **described)
        path = verify.Path(tmp_path / "s.npz")
        r = 2.0 ** -int(rng.integers(1, 40))
        c = r * (1 + 2 * int(rng.integers(0.5 / r)))
        with np.errstate(all="ignore"):
            high, low = path.segment(0)(c, r)
        finite += high < np.inf
        for t in (Fraction(c), Fraction(c) - Fraction(r), Fraction(c) + Fraction(r) / 3):
            exact = verify.exact_loss(path, f"0:{t}")
            assert high == np.inf or exact <= Fraction(high) or float(exact) == high
            assert t != c or low == np.inf or exact >= Fraction(low) or float(exact) == low
    assert finite > 50


def test_exact_values_are_those_of_fractions(file):
    path = verify.Path(file)
    theta = [
        Fraction(2, 3) * Fraction(a) + Fraction(1, 3) * Fraction(b)
        for a, b in zip(*STRING.beads[:2].tolist(), strict=True)
    ]
    total = Fraction(0)
    for x, y in zip(QUAD.X_test[:, 0].tolist(), QUAD.y_test[:, 0].tolist(), strict=True):
        a, k = [Fraction(x)], 0
        for m, n in ((1, 4), (4, 4), (4, 1)):
            z = [sum(a[i] * theta[k + i * n + j] for i in range(m)) for j in range(n)]
            z = [v + w for v, w in zip(z, theta[k + m * n :], strict=False)]
            a, k = [max(v, Fraction(0)) for v in z] if n > 1 else z, k + (m + 1) * n
        total += (a[0] - Fraction(y)) ** 2
    assert verify.exact_loss(path, "0:1/3") == total / len(QUAD.X_test)


def test_a_tie_is_an_error_and_its_exact_share_decides(tmp_path, capsys):
    X, labels = np.ones((3, 1)), np.array([0, 1, 1])
    problem = nc.Classification(nc.MLP((1, 1, 2)), X, labels, X, labels, metric="error")
    tied = np.array([1.0, 0.0, 1.0, 1.0, 0.0, 0.0])
    right = np.array([1.0, 0.0, 0.0, 1.0, 0.0, 0.0])
    nc.string_through(problem, [right, tied], L0=0.5).save(tmp_path / "s.npz", problem)
    status, out, _ = run(
        capsys, tmp_path / "s.npz", "--exact", "0:1", "--exact", "0:0.99", "--json"
    )
    found = json.loads(out)
    assert status == 1
    assert (found["verdict"], found["lower"], found["upper"]) == ("not decided", 1 / 3, 1.0)
    assert found["exact"] == {"0:1": [1.0, False], "0:0.99": [1 / 3, True]}


def test_a_refusal_is_one_line_whatever_the_name(capsys):
    status, out, err = run(capsys, "two\nlines")
    assert (status, out, err.count("\n")) == (2, "", 1)


def test_it_is_one_short_program_of_numpy_alone(file, tmp_path):
    text = SOURCE.read_text(encoding="utf-8")
    assert len(text.splitlines()) <= 300
    imported = {
        (node.module if isinstance(node, ast.ImportFrom) else node.names[0].name)
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert imported - sys.stdlib_module_names == {"numpy"}
    alone = tmp_path / "alone"
    alone.mkdir()
    shutil.copy(SOURCE, alone)
    done = subprocess.run(
        [sys.executable, "-I", "verify.py", file], capture_output=True, text=True, cwd=alone
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "proven: " in done.stdout


@pytest.mark.skipif(sys.platform == "win32", reason="needs SIGINT")
def test_ctrl_c_ends_it_in_one_line(tmp_path):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(2000, 8))
    problem = nc.Problem(nc.MLP((8, 64, 64, 1)), "mse", x, x[:, :1], x, x[:, :1])
    ends = [3.0 * problem.initial(np.random.default_rng(seed)) for seed in (1, 2)]
    arrays = {
        **problem.describe(),
        **{"beads": np.array(ends), "losses": np.zeros(2), "L0": np.array(1e9)},
        **{"segment_lower": np.zeros(1), "segment_upper": np.zeros(1)},
    }
    write_arrays(tmp_path / "s.npz", arrays)
    command = [sys.executable, SOURCE, tmp_path / "s.npz", "--gap", "1e-9"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    time.sleep(1.5)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=30)
    assert (process.returncode, out) == (130, "")
    assert err.splitlines()[-1].endswith("interrupted, nothing is proven of it")
    assert "Traceback" not in err
