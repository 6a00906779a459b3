"""Any PyTorch module as a landscape."""

import doctest
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

import nconvex as nc
from nconvex.adapters import data

torch = pytest.importorskip("torch", reason="PyTorch is not installed")
import torch.nn.functional as F  # noqa: E402
from torch import nn  # noqa: E402

from nconvex.adapters import pytorch  # noqa: E402
from nconvex.adapters.pytorch import TorchLandscape  # noqa: E402

FAST = nc.RMSProp(learning_rate=1e-2, final_learning_rate=1e-3, budget=300)


def blobs(samples=90, size=(4,), classes=3):
    rng = np.random.default_rng(0)
    y = np.arange(samples) % classes
    X = 0.6 * rng.normal(size=(samples, *size)) + 2.0 * rng.normal(size=(classes, *size))[y]
    return (X[::2], y[::2]), (X[1::2], y[1::2])


def mlp(norm=False):
    middle = [nn.BatchNorm1d(6)] if norm else []
    return nn.Sequential(nn.Linear(4, 6), *middle, nn.ReLU(), nn.Linear(6, 3))


def landscape(module=None, loss="cross-entropy", **options):
    return TorchLandscape(module or mlp(), loss, *blobs(), rmsprop=FAST, **options)


def test_theta_goes_in_and_out_of_modules_and_state_dicts():
    net = mlp(norm=True)
    net(torch.randn(9, 4))  # moves the statistics
    surface = landscape(net, buffers=True)
    theta = surface.theta_of(net)
    assert theta.size == surface.n_parameters == 4 * 6 + 6 + 12 + 12 + 6 * 3 + 3
    assert (surface.theta_of(net.state_dict()) == theta).all()
    other = surface.load_into(mlp(norm=True), theta)
    for x in (torch.randn(5, 4),):
        assert torch.equal(other.eval()(x), net.eval()(x))
    assert surface.frozen == ()


def test_what_is_frozen_must_agree_and_is_named():
    net = mlp(norm=True)
    net[0].weight.requires_grad_(False)
    surface = landscape(net)
    assert set(surface.frozen) == {"0.weight", "1.running_mean", "1.running_var"}
    assert "1.running_var" in repr(surface)
    moved = mlp(norm=True)
    moved.load_state_dict(net.state_dict())
    moved(torch.randn(9, 4))
    with pytest.raises(nc.NconvexError, match=r"1.running_mean is frozen.*buffers=True"):
        surface.theta_of(moved)
    with pytest.raises(nc.NconvexError, match=r"0.weight is frozen"):
        surface.theta_of(mlp(norm=True))
    start = surface.initial(np.random.default_rng(0))
    module = surface.load_into(mlp(norm=True), surface.descend(start, 0.0, *rngs(1)).theta)
    assert torch.equal(module[0].weight, net[0].weight)
    assert torch.equal(module[1].running_mean, net[1].running_mean)


def rngs(*seeds):
    return [np.random.default_rng(seed) for seed in seeds]


@pytest.mark.parametrize("loss", data.LOSSES)
def test_losses_are_those_of_pytorch_in_float64(loss):
    net = mlp()
    train, (X, y) = blobs()
    if loss in ("mse", "mae"):
        y = np.eye(3)[y]
        train = train[0], np.eye(3)[train[1]]
    surface = TorchLandscape(net, loss, train, (X, y))
    outputs = net.double()(torch.from_numpy(X)).detach()
    expected = {
        "cross-entropy": lambda: F.cross_entropy(outputs, torch.from_numpy(y)),
        "error": lambda: (outputs.argmax(1).numpy() != y).mean(),
        "mse": lambda: ((outputs.numpy() - y) ** 2).sum(1).mean(),
        "mae": lambda: abs(outputs.numpy() - y).sum(1).mean(),
    }[loss]()
    theta = surface.theta_of(net)
    assert surface.loss(theta) == pytest.approx(float(expected), rel=1e-12)
    assert surface.gamma(theta, 2 * theta, np.array([0.0, 1.0])).tolist() == [
        surface.loss(theta),
        surface.loss(2 * theta),
    ]


def test_a_tie_is_an_error():
    surface = landscape(loss="error")
    assert surface.loss(np.zeros(surface.n_parameters)) == 1.0


def test_the_gradient_is_that_of_the_loss():
    (X, y), _ = blobs()
    surface = TorchLandscape(mlp(), "mse", (X, np.eye(3)[y]), (X, np.eye(3)[y]))
    rng = np.random.default_rng(0)
    theta = surface.initial(rng)
    direction = rng.normal(size=theta.size)
    step = 1e-6
    ends = (surface.loss(theta + step * direction) - surface.loss(theta - step * direction)) / (
        2 * step
    )
    assert surface.gradient(theta, rng) @ direction == pytest.approx(ends, rel=1e-6)


def test_descents_have_the_same_bits_for_any_number_of_threads():
    net = nn.Sequential(
        nn.Linear(4, 6), nn.BatchNorm1d(6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3)
    )
    surface = landscape(net, buffers=True, batch=20)
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        torch.manual_seed(threads)
        before = torch.get_rng_state()
        start = surface.initial(np.random.default_rng(1))
        found.append(surface.descend(start, 1e-9, np.random.default_rng(2)).theta)
        assert torch.get_num_threads() == threads
        assert torch.equal(torch.get_rng_state(), before)
    torch.set_num_threads(1)
    assert (found[0] == found[1]).all()
    assert not np.allclose(found[0], start)
    mean = surface._tensors(torch.from_numpy(found[0]))["1.running_mean"]
    assert mean.abs().max() > 0.01  # statistics follow the batches


def test_python_threads_do_not_disturb_one_another():
    net = nn.Sequential(nn.Linear(4, 6), nn.Dropout(), nn.ReLU(), nn.Linear(6, 3))
    short = nc.RMSProp(learning_rate=1e-2, budget=20)
    surface = TorchLandscape(net, "cross-entropy", *blobs(), rmsprop=short)

    def work(seed):
        rng = np.random.default_rng(seed)
        theta = surface.initial(rng)
        found = surface.gamma(theta, -theta, np.linspace(0, 1, 60)).tolist()
        return found, surface.descend(theta, 1e-9, rng).loss

    expected = [work(seed) for seed in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        with ThreadPoolExecutor(4) as pool:
            found = list(pool.map(work, range(4)))
    finally:
        sys.setswitchinterval(0.005)
    assert found == expected


def test_losses_and_proofs_have_the_same_bits_for_any_number_of_threads():
    net = nn.Sequential(
        nn.Conv2d(1, 8, 3), nn.Tanh(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(72, 3)
    )
    surface = TorchLandscape(net, "cross-entropy", *blobs(300, (1, 8, 8)))
    a, b = (surface.initial(rng) for rng in rngs(1, 2))
    found = []
    for threads in (1, 2):
        torch.set_num_threads(threads)
        found.append((surface.loss(a), surface.bracket(a, b, 0.3)))
    torch.set_num_threads(1)
    assert found[0] == found[1]


def test_the_examples_of_the_docstrings_run():
    assert not doctest.testmod(pytorch).failed


def test_two_networks_are_connected_with_proof():
    surface = landscape(mlp(norm=True), buffers=True)
    a, b = (nc.train(surface, L0=0.15, seed=seed) for seed in (1, 2))
    string = nc.connect(surface, a.theta, b.theta, L0=0.2, depth=6)
    assert string.connected
    assert string.certified
    t = np.linspace(0, 1, 101)
    for left, right, upper in zip(
        string.beads, string.beads[1:], string.segment_upper, strict=False
    ):
        assert surface.gamma(left, right, t).max() <= upper


def test_two_files_of_weights_are_connected_with_proof(tmp_path):
    train, test = blobs()
    torch.manual_seed(0)
    for name in ("a.pt", "b.pt"):  # as their owner trained them
        net = mlp(norm=True)
        optimizer = torch.optim.Adam(net.parameters(), 0.02)
        for _ in range(80):
            optimizer.zero_grad()
            F.cross_entropy(net(torch.tensor(train[0]).float()), torch.tensor(train[1])).backward()
            optimizer.step()
        torch.save(net.state_dict(), tmp_path / name)
    surface = TorchLandscape(net, "cross-entropy", train, test, rmsprop=FAST, buffers=True)
    a, b = (surface.theta_of(torch.load(tmp_path / name)) for name in ("a.pt", "b.pt"))
    string = nc.connect(surface, a, b, L0=1.2 * max(surface.loss(a), surface.loss(b)) + 0.1)
    assert string.connected
    assert string.evidence == "proven"


class Odd(nn.Module):
    def __init__(self, step):
        super().__init__()
        self.inner, self.norm, self.step = mlp(), nn.LayerNorm(3), step

    def forward(self, x):
        return self.step(self, self.inner(x))


SAMPLED = {
    "norm (LayerNorm)": lambda self, x: self.norm(x),
    "exp": lambda self, x: x.exp(),
    "random in evaluation": lambda self, x: F.dropout(x, 0.0),
    "cannot trace": lambda self, x: x if x.sum() > 0 else -x,
    "mixes samples": lambda self, x: x.mean(0, keepdim=True) + x,
}


def reasons():
    for word, step in SAMPLED.items():
        yield word, Odd(step), "mse"
    approximate = nn.Sequential(mlp(), nn.GELU("tanh"))
    yield "1 (GELU): approximate='tanh'", approximate, "cross-entropy"
    yield "a function of your own", mlp(), F.cross_entropy


@pytest.mark.parametrize(("word", "module", "loss"), list(reasons()), ids=lambda a: str(a)[:20])
def test_other_modules_are_sampled_and_say_why(word, module, loss):
    train, test = blobs()
    if loss == "mse":
        train, test = ((X, np.eye(3)[y]) for X, y in (train, test))
    surface = TorchLandscape(module, loss, train, test, rmsprop=FAST)
    assert word in surface.reason
    assert word in repr(surface)
    assert not surface.certified
    theta = surface.theta_of(module)
    assert not surface.max_gamma(theta, 1.1 * theta, 1e9).certified


def overwriting(x, f):
    h = f(x)
    return torch.relu_(h) + h


class Overwriting(nn.Module):
    def __init__(self):
        super().__init__()
        self.inner = mlp()

    def forward(self, x):
        return overwriting(x, self.inner)


def test_what_is_overwritten_and_read_again_is_not_certified():
    assert "overwrites" in landscape(Overwriting()).reason
    fine = nn.Sequential(nn.ReLU(inplace=True), mlp())  # the data stay as they are
    surface = landscape(fine)
    assert surface.certified
    theta = surface.theta_of(fine)
    assert surface.loss(theta) == surface.loss(theta)
    assert surface.X_test.min() < 0


def test_hooks_and_derived_layers_are_not_certified():
    net = mlp()
    net[0].register_forward_hook(lambda module, given, out: 2 * out)
    assert "hook" in landscape(net).reason

    class Twice(nn.Linear):
        def forward(self, x):
            return 2 * super().forward(x)

    assert "0.weight" in landscape(nn.Sequential(Twice(4, 3))).reason


def test_tied_weights_count_once():
    net = nn.Sequential(nn.Linear(4, 4), nn.Tanh(), nn.Linear(4, 4), nn.Linear(4, 3))
    net[2].weight = net[0].weight
    surface = landscape(net)
    assert surface.n_parameters == 16 + 4 + 4 + 12 + 3
    assert surface.certified
    a, b = (surface.initial(rng) for rng in rngs(1, 2))
    assert surface.gamma(a, b, np.linspace(0, 1, 33)).max() <= surface.bracket(a, b, 1e-2).upper
    assert (surface.theta_of(surface.load_into(net.double(), a)) == a).all()


@pytest.mark.parametrize("frozen", [(0, "weight"), (0, "bias"), (0, None), (2, None), (4, None)])
def test_frozen_layers_are_certified(frozen):
    net = nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 5), nn.ReLU(), nn.Linear(5, 3))
    for name, parameter in net[frozen[0]].named_parameters():
        parameter.requires_grad_(frozen[1] not in (name, None))
    surface = landscape(net)
    a, b = (surface.initial(rng) for rng in rngs(1, 2))
    a, b = 4 * a, 4 * b
    peak = surface.bracket(a, b, 1e-2)
    assert peak.certified
    dense = surface.gamma(a, b, np.linspace(0, 1, 65)).max()
    assert peak.lower * 0.9 <= dense <= peak.upper <= 1.02 * dense


def test_a_landscape_can_be_pickled_and_stored(tmp_path):
    surface = landscape()
    theta = surface.initial(np.random.default_rng(0))
    assert surface.certified
    copy = pickle.loads(pickle.dumps(surface))
    assert copy.loss(theta) == surface.loss(theta)
    assert copy.max_gamma(theta, -theta, 0.1) == surface.max_gamma(theta, -theta, 0.1)
    string = nc.connect(surface, theta, theta, L0=10.0)
    string.save(tmp_path / "string.npz", surface)
    again = nc.load_string(tmp_path / "string.npz", surface)
    assert again.certified
    assert "Linear(in_features=4" in str(again.description["module"])


X, Y = np.zeros((6, 4)), np.zeros(6, dtype=int)
WRONG = {
    "loss 'hinge' is unknown": lambda: landscape(loss="hinge"),
    "module must be of the class Module": lambda: TorchLandscape(3, "mse", (X, Y), (X, Y)),
    "no parameter that requires a gradient": lambda: landscape(nn.Sequential(nn.ReLU())),
    "must be a pair": lambda: TorchLandscape(mlp(), "mse", X, (X, Y)),
    "both must begin with N": lambda: TorchLandscape(mlp(), "error", (X, Y), (X, Y[1:])),
    "does not take inputs of shape (2, 3)": lambda: TorchLandscape(
        mlp(), "error", (X[:, :3], Y), (X, Y)
    ),
    "none of the classes": lambda: TorchLandscape(mlp(), "error", (X, Y), (X, Y + 3)),
    "the outputs need (6, 3)": lambda: TorchLandscape(mlp(), "mse", (X, Y), (X, Y)),
    "needs outputs of shape (N, classes)": lambda: TorchLandscape(
        nn.Linear(4, 1), "error", (X, Y), (X, Y)
    ),
    "train[0][2, 1] is nan": lambda: TorchLandscape(
        mlp(), "error", (np.where(np.arange(24).reshape(6, 4) == 9, np.nan, X), Y), (X, Y)
    ),
    "3.bias is not in this": lambda: landscape().theta_of(nn.Sequential(*mlp(), nn.Linear(3, 3))),
    "0.weight is missing": lambda: landscape().theta_of({}),
    "has 3 parameters; this landscape has 51": lambda: landscape().loss(np.zeros(3)),
    "does not fit the module": lambda: landscape().load_into(nn.Linear(2, 2), np.zeros(51)),
}


@pytest.mark.parametrize("message", WRONG)
def test_wrong_input_is_refused_in_one_line(message):
    with pytest.raises(nc.NconvexError) as error:
        WRONG[message]()
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_labels_of_any_form_are_numbered_as_in_a_classification():
    X, numbered = np.random.default_rng(0).normal(size=(6, 4)), np.array([2, 0, 1, 1, 0, 2])
    model = nc.MLP((4, 3, 3))
    for given in (
        np.array(["cat", "dog", "eel"])[numbered],
        np.array(["cat", "dog", "eel"], dtype=object)[numbered],
        numbered + 1,
        1.0 * numbered,
        np.eye(3)[numbered],
        numbered[:, None],
    ):
        surface = TorchLandscape(mlp(), "cross-entropy", (X, given), (X, given[::-1]))
        same = nc.Classification(model, X, given, X, given[::-1])
        assert surface.classes_.tolist() == same.classes_.tolist()
        assert surface.y.tolist() == same.labels.tolist() == numbered.tolist()
        assert surface.y_test.tolist() == same.labels_test.tolist()
    target = np.zeros((6, 3))
    assert TorchLandscape(mlp(), "mse", (X, target), (X, target)).classes_ is None
