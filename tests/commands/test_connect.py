"""The command line of two networks whose weights are in files."""

import json

import numpy as np
import pytest
from command_lines import refused, said

import nconvex as nc
from nconvex.__main__ import main


def run(capsys, *argv):
    """Run the command; return its exit status, stdout and stderr."""
    return said(capsys, main, ["connect", *map(str, argv)])


@pytest.fixture(scope="module")
def trained():
    problem = nc.quad.problem(samples=100)
    return problem, [nc.train(problem, L0=1e-3, seed=seed).theta for seed in (1, 2)]


@pytest.fixture
def folder(trained, tmp_path, monkeypatch):
    """A folder with the networks in every layout, and their data."""
    monkeypatch.chdir(tmp_path)
    problem, thetas = trained
    for name, theta in zip("ab", thetas, strict=True):
        layers = problem.model.unpack(theta)
        np.savez(f"theta-{name}.npz", theta=theta, **problem.describe())
        for W, b in (("W{}", "b{}"), ("weights_{}", "biases_{}")):
            arrays = {W.format(k): layer[0] for k, layer in enumerate(layers)}
            arrays |= {b.format(k): layer[1] for k, layer in enumerate(layers)}
            np.savez(f"{W[0]}-{name}.npz", **arrays)
    sets = {"X_test": problem.X_test, "y_test": problem.y_test}
    np.savez("test.npz", **sets)
    np.savez("both.npz", X=problem.X, y=problem.y, **sets)
    return tmp_path


@pytest.mark.parametrize("kind", ["theta", "W", "w"])
def test_two_files_of_weights_are_connected(trained, folder, capsys, kind):
    problem, thetas = trained
    files = f"{kind}-a.npz", f"{kind}-b.npz"
    argv = [*files, "--data", "both.npz", "--quiet", "--json", "--out", "out"]
    status, out, err = run(capsys, *argv)
    assert (status, err) == (0, "")
    result = json.loads(out)
    L0 = float(f"{1.1 * max(map(problem.loss, thetas)):.3g}")
    string = nc.connect(problem, *thetas, L0=L0, alpha=0.95, seed=(0, 3))
    assert (result["L0"], result["max_error"]) == (L0, string.max_error)
    assert result["L0_chosen"] == "a little above the higher test loss of the two ends"
    assert result["certified"]
    saved = nc.load_string("out/string.npz")
    np.testing.assert_array_equal(saved.beads, string.beads)
    assert (folder / "out/figure.png").stat().st_size > 10_000


def test_without_training_data_beads_are_trained_on_the_test_set_and_this_is_said(folder, capsys):
    argv = ["W-a.npz", "W-b.npz", "--data", "test.npz", "--L0", "0.002", "--no-figure"]
    status, out, _ = run(capsys, *argv)
    assert status == 0
    assert "no X and y, so beads are trained on these" in out
    assert "connected" in out
    assert "random starts" not in out
    assert "no X and y" not in run(capsys, *argv[:3], "both.npz", *argv[4:])[1]


def test_labels_make_a_classifier(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X, labels = rng.normal(size=(40, 3)), np.array(["hen", "fox"])[rng.integers(2, size=40)]
    problem = nc.Classification(nc.MLP((3, 4, 2), "tanh"), X, labels, X, labels)
    for seed, name in enumerate("ab"):
        layers = problem.model.unpack(nc.train(problem, L0=0.65, seed=seed).theta)
        arrays = {f"W{k}": W for k, (W, _) in enumerate(layers)}
        np.savez(name, **arrays, **{f"b{k}": b for k, (_, b) in enumerate(layers)})
    np.savez("data", X_test=X, y_test=labels)
    argv = ["a.npz", "b.npz", "--data", "data.npz", "--activation", "tanh"]
    status, out, _ = run(capsys, *argv)
    assert status == 0
    assert "3-4-2 tanh, cross-entropy" in out
    assert "proven" in out
    assert (tmp_path / "connect.png").stat().st_size > 10_000


W = np.ones((1, 4)), np.ones((4, 1))
B = np.ones(4), np.ones(1)


@pytest.mark.parametrize(
    ("arrays", "argv", "words"),
    [
        ({}, [], "bad.npz holds nothing"),
        ({"W0": W[0], "b0": B[0], "W1": W[1]}, [], "all biases or none"),
        ({"b0": B[0]}, [], "not the weights of each layer"),
        ({"W0": np.ones((4, 2)), "W1": W[0]}, [], "they are transposed: save W.T"),
        ({"W0": W[0], "W1": W[0]}, [], "do not follow each other; one row an input"),
        ({"W0": W[0], "conv": W[1]}, [], "'conv' of shape (4, 1), which is no part"),
        ({"W0": B[0]}, [], "'W0' of shape (4,), which is no part"),
        ({"W0": W[0] * np.nan, "W1": W[1]}, [], "weights[0][0, 0] is nan"),
        ({"W0": W[0], "W1": W[1]}, [], "different networks"),
        ({"theta": np.ones(3)}, [], "no activation"),
        ({"theta": np.ones(3), "activation": "relu", "sizes": [1, 4, 1]}, [], "13"),
        ({"theta": np.ones(3), "activation": "relu", "sizes": [1]}, [], "sizes must name"),
        ({"W0": np.array([{}])}, [], "only numbers and text are read"),
        (None, [], "bad.npz is truncated or not an npz file"),
        ("W-b.npz", ["--data", "W-a.npz"], "W-a.npz has no X_test and no y_test"),
        ("W-b.npz", ["--L0", "1e-9"], "above L0 = 1e-09"),
        ("W-b.npz", ["--loss", "error"], "of 1 classes"),
        ("theta-b.npz", ["--activation", "tanh"], "is of relu units, not tanh"),
        ("W-b.npz", ["--data", "nowhere.npz"], "cannot read nowhere.npz"),
    ],
)
def test_what_cannot_be_used_is_told_in_one_line(folder, capsys, arrays, argv, words):
    if isinstance(arrays, dict):
        np.savez("bad.npz", **arrays)
    elif arrays is None:
        (folder / "bad.npz").write_bytes(b"PK\3\4 no archive")
    other = arrays if isinstance(arrays, str) else "bad.npz"
    files = ["W-a.npz", other, "--data", "test.npz"]
    assert words in refused(capsys, main, ["connect", *files, "--quiet", *argv])


def test_a_checkpoint_without_pytorch_is_one_line(folder, capsys, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "torch", None)
    argv = ["connect", "a.pt", "b.pt", "--data", "test.npz", "--quiet"]
    assert "install nconvex[torch]" in refused(capsys, main, argv)


class TestTorch:
    """With PyTorch itself."""

    @pytest.fixture(autouse=True)
    def _installed(self):
        self.torch = pytest.importorskip("torch", reason="PyTorch is not installed")

    def nets(self, problem, thetas):
        nn = self.torch.nn
        net = nn.Sequential(
            nn.Linear(1, 4), nn.ReLU(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 1)
        ).double()
        return (problem.model.to_torch(theta, net) for theta in thetas)

    def test_two_checkpoints_are_connected(self, trained, folder, capsys):
        problem, thetas = trained
        for name, net in zip("ab", self.nets(problem, thetas), strict=True):
            self.torch.save(net.state_dict(), f"{name}.pt")
        results = []
        for files in (("a.pt", "b.pt"), ("W-a.npz", "W-b.npz")):
            status, out, _ = run(capsys, *files, "--data", "both.npz", "--quiet", "--json")
            assert status == 0
            results.append(json.loads(out))
        assert results[0]["certified"]
        assert results[0]["max_error"] == results[1]["max_error"]

    def test_what_is_no_checkpoint_of_weights_is_told_in_one_line(self, trained, folder, capsys):
        torch = self.torch
        net = next(self.nets(*trained))
        torch.save(net, "module.pt")
        torch.save({"epoch": 3}, "dict.pt")
        torch.save({"0.weight": torch.ones(1).expand(10**5, 10**5)}, "huge.pt")
        torch.save({"0.weight": torch.ones(1, 2, dtype=torch.cfloat)}, "complex.pt")
        torch.save(torch.nn.Sequential(torch.nn.Conv1d(1, 2, 3)).state_dict(), "conv.pt")
        (folder / "garbage.pt").write_bytes(b"\x80\x02garbage")
        for name, words in (
            ("module.pt", "more than weights"),
            ("dict.pt", "no state_dict of real tensors"),
            ("complex.pt", "no state_dict of real tensors"),
            ("huge.pt", "announces more numbers than it holds"),
            ("conv.pt", "'0.weight' of shape (2, 1, 3)"),
            ("garbage.pt", "damaged"),
            ("none.pt", "cannot read none.pt"),
        ):
            argv = ["connect", name, name, "--data", "test.npz", "--quiet"]
            assert words in refused(capsys, main, argv)
