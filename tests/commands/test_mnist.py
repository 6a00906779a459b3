"""The command line of the second experiment, its data and its figure."""

import json
import os
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
import test_quad
from matplotlib.figure import Figure

import nconvex as nc
from nconvex import textbook, verify
from nconvex.data import digits
from nconvex.mnist import main

ORIGINALS = os.environ.get(
    "NCONVEX_MNIST", str(Path(__file__).parents[3] / "shared" / "data" / "mnist")
)


def document(capsys, *argv):
    assert main(["--quiet", "--json", "--hidden", "32", "--no-figure", *argv]) == 0
    out, _ = capsys.readouterr()
    return json.loads(out, parse_constant=pytest.fail)


def softmax_loss(model, theta, X, labels):
    z = textbook.forward(model, theta, X)[-1]
    return (np.logaddexp.reduce(z, axis=1) - z[np.arange(len(X)), labels]).mean()


def test_the_default_trains_connects_proves_and_draws(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main([]) == 0
    out, err = capsys.readouterr()
    assert "MNIST: 784-256-10 relu, cross-entropy, seed 0" in out
    assert "MNIST subset, 5,000 training and 1,000 test images, shipped with nconvex" in out
    assert "proven: the highest loss lies between" in out
    assert "connected: the loss is at most L0" in out
    assert "network 1 trained to test loss" in err
    assert Path("mnist.png").stat().st_size > 10_000


def test_the_document_has_the_keys_of_quads(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = document(capsys)
    test_quad.main(["--json", "--quiet", "--no-figure"])
    assert result.keys() == json.loads(capsys.readouterr()[0]).keys()
    assert result["connected"]
    assert result["certified"]
    lower, upper = result["max_error_bounds"]
    assert lower <= upper == result["max_error"] <= result["L0"] == 0.4
    assert result["settings"]["data"].startswith("MNIST subset")
    assert not list(tmp_path.iterdir())
    again = document(capsys)
    for timed in ("seconds",):
        result.pop(timed)
        again.pop(timed)
    assert again == result
    assert document(capsys, "--seed", "1")["endpoint_losses"] != result["endpoint_losses"]


@pytest.mark.parametrize("metric", ["loss", "error"])
def test_the_files_alone_allow_the_path_to_be_checked(tmp_path, capsys, metric):
    result = document(capsys, "--metric", metric, "--out", str(tmp_path))
    assert json.loads((tmp_path / "result.json").read_text()) == result
    with np.load(tmp_path / "string.npz") as file:
        assert file["loss"].item() == ("cross-entropy" if metric == "loss" else "error")
        X, labels, beads = file["X_test"].astype(float), file["y_test"], file["beads"]
        model = nc.MLP(tuple(file["sizes"].tolist()))
    assert beads.shape == (result["n_beads"] + 2, model.n_parameters)
    highest = 0.0
    for a, b in pairwise(beads):
        for t in np.linspace(0, 1, 21):
            theta = (1 - t) * a + t * b
            if metric == "loss":
                highest = max(highest, softmax_loss(model, theta, X, labels))
            else:
                wrong = model.predict(theta, X).argmax(axis=1) != labels
                highest = max(highest, wrong.mean())
    lower, upper = result["max_error_bounds"]
    assert 0.9 * lower <= highest <= upper * (1 + 1e-12)
    assert upper <= result["L0"] == {"loss": 0.4, "error": 0.1}[metric]
    assert nc.load_string(tmp_path / "string.npz").evidence == "claimed"


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (["--data", "nowhere"], "data 'nowhere' is neither 'subset' nor 'full' nor a folder"),
        (["--lr", "0"], "lr must be a positive finite number, not 0.0"),
        (["--batch", "0"], "batch must be an integer of at least 1"),
        (["--L0", "0"], "L0 must be a positive finite number, not 0.0"),
        (["--hidden", "0"], "a layer's size must be an integer of at least 1"),
        (["--alpha", "1.5"], r"alpha must lie in (0, 1], not 1.5"),
        (["--L0", "0.01", "--budget", "20"], "could not be trained to L0 = 0.01"),
    ],
)
def test_bad_input_is_one_clear_line(argv, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["--quiet", "--out", "new", *argv]) == 2
    out, err = capsys.readouterr()
    assert message in err
    assert out == ""
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_without_the_files_is_told_what_it_needs(capsys, tmp_path):
    assert main(["--data", str(tmp_path)]) == 2
    assert "train-images-idx3-ubyte" in capsys.readouterr().err


def test_the_figure_shows_doubtful_digits_of_different_labels():
    problem = nc.mnist.problem(model=nc.MLP((784, 16, 10)))
    string = nc.run_pair(problem, L0=0.6, seed=0).string
    figure = nc.plots.digits(problem, string)
    assert isinstance(figure, Figure)
    curves = [axes for axes in figure.axes if axes.lines]
    labels = [axes.get_legend_handles_labels()[1][0] for axes in curves]
    assert len(set(labels)) == 4
    for axes in curves:
        for line in axes.lines:
            y = np.asarray(line.get_ydata())
            assert ((y >= 0) & (y <= 1)).all()
        likely = axes.lines[-2].get_ydata()
        assert np.ptp(likely) > 0.2  # what is shown is what changes


def test_a_threshold_of_errors_is_not_called_one_of_the_loss(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["--metric", "error", "--hidden", "16", "--tighten", "--sampler", "revive"]) == 0
    out, err = capsys.readouterr()
    assert "connected: the error is at most L0" in out
    assert "loss" not in out + err


@pytest.mark.skipif(not Path(ORIGINALS).is_dir(), reason="needs all of MNIST in NCONVEX_MNIST")
def test_all_of_mnist(capsys):
    result = document(capsys, "--data", ORIGINALS, "--L0", "0.3")
    assert result["connected"]
    assert result["certified"]
    assert result["settings"]["data"].startswith("MNIST, 60,000 training and 10,000 test images")


def test_fashion_mnists_format_is_read_from_a_folder(tmp_path, capsys):
    # Any labelled 28 x 28 images in IDX files will do, gzipped or not.
    rng = np.random.default_rng(0)
    for file, count in zip(digits.FILES, (300, 300, 100, 100), strict=True):
        shape = (count, 28, 28) if file.dimensions == 3 else (count,)
        values = rng.integers(0, 256 if file.dimensions == 3 else 10, shape, dtype=np.uint8)
        header = bytes([0, 0, 8, len(shape)]) + b"".join(n.to_bytes(4, "big") for n in shape)
        (tmp_path / file.name).write_bytes(header + values.tobytes())
    result = document(capsys, "--data", str(tmp_path), "--L0", "3.0")
    assert result["settings"]["data"].startswith("IDX files other than MNIST's")


def test_other_activations(capsys, tmp_path):
    run = document(
        capsys, "--activation", "tanh", "--hidden", "8-6", "--L0", "1", "--out", str(tmp_path)
    )
    assert run["connected"]
    assert run["certified"]
    assert run["settings"]["activation"] == "tanh"
    assert verify.main([str(tmp_path / "string.npz")]) == 0
    assert capsys.readouterr()[0].count(": proven: ") == 1
