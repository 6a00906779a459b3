"""Settings: what is accepted, what is refused, values that can be compared and sent around."""

import copy
import json
import pickle
import re
from dataclasses import asdict

import numpy as np
import pytest

import nconvex as nc
from nconvex import MLP, NconvexError, RMSProp
from nconvex.pairs.presets import PRESETS
from nconvex.pairs.published import PUBLISHED
from nconvex.survey import Setting, grid

SMALL = RMSProp(budget=400)
OF_PRESETS = [setting for preset in PRESETS.values() for setting in preset.settings]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"task": "cosine"}, "task 'cosine' is unknown"),
        ({"L0": 0.0}, "L0 must be a positive"),
        ({"alpha": 2.0}, "alpha must lie in"),
        ({"accept": 0.9}, "accept must be at least 1, not 0.9"),
        ({"depth": 99}, "depth must be at most 64, not 99"),
        ({"loss": "error"}, "loss 'error' is unknown"),
        ({"task": "mnist"}, "loss 'mse' is unknown; choose from loss, error"),
        ({"hidden": ()}, "hidden must name one layer"),
        ({"hidden": 4}, "hidden must name one layer"),
        ({"hidden": "4-4"}, "hidden must name one layer"),
        ({"rmsprop": 3}, "rmsprop must be of the class RMSProp"),
        ({"bead_rmsprop": "fast"}, "bead_rmsprop must be of the class RMSProp"),
        ({"width": 3}, "a setting has no width; choose from L0, accept, activation"),
    ],
)
def test_bad_settings_are_named(values, words):
    with pytest.raises(NconvexError, match=re.escape(words)):
        grid(**values)


def test_a_record_has_room_for_its_setting(tmp_path):
    shape = (4,) * 20
    setting = Setting(
        "quadratic", "leaky-relu", hidden=shape, samples=np.int64(5), depth=np.int32(1),
        rmsprop=RMSProp(budget=1),
    )  # fmt: skip
    record = nc.survey.run(setting, pairs=np.int64(1), store=tmp_path / "s").records[0]
    assert record["hidden"] == "-".join(map(str, shape))
    assert record["activation"] == "leaky-relu"
    assert nc.survey.load(tmp_path / "s").settings == (setting,)
    with pytest.raises(NconvexError, match=r"hidden 4-4-.* has too many layers"):
        Setting(hidden=(4,) * 40)


def test_classifiers_are_surveyed_with_any_activation():
    model = Setting("mnist", "tanh", "loss", (8,)).problem(0).model
    assert (model.sizes, model.activation) == ((784, 8, 10), "tanh")


def test_bad_surveys_are_named():
    with pytest.raises(NconvexError, match="one setting at least"):
        nc.survey.run(())
    with pytest.raises(NconvexError, match=r"takes settings, .* landscape, or a function .*not 3"):
        nc.survey.run(3)
    for given in ("x", (Setting(), 3)):
        with pytest.raises(NconvexError, match=r"a setting must be of the class Setting, e\.g\. "):
            nc.survey.run(given)
    with pytest.raises(TypeError, match="positional"):
        nc.survey.run(Setting(), 3)
    with pytest.raises(NconvexError, match="occurs twice"):
        nc.survey.run((Setting(), Setting()))
    with pytest.raises(NconvexError, match="pairs must be an integer of at least 1, not 0"):
        nc.survey.run(Setting(), pairs=0)
    with pytest.raises(NconvexError, match="pairs must be at most 1000000"):
        nc.survey.run(Setting(), pairs=10**21)
    with pytest.raises(NconvexError, match="workers must be at most 1024"):
        nc.survey.run(Setting(), workers=10**21)
    with pytest.raises(NconvexError, match="executor must be an Executor or a Dask client, not 3"):
        nc.survey.run(Setting(), executor=3)


def test_the_presets_are_the_published_ones():
    first = PRESETS["paper-quadratic"].settings[0]
    assert first.problem(0).model == MLP.of_the_authors((1, 4, 4, 1))
    assert {s.L0 for s in PRESETS["paper-quadratic"].settings} == {
        point.L0 for point in PUBLISHED["quadratic"]
    }
    assert len(PRESETS["alpha"].settings) == 21


# -- Values ----------------------------------------------------------------------------------------


def test_a_setting_is_shown_as_the_short_call_that_makes_it():
    names = {"Setting": Setting, "RMSProp": RMSProp}
    for setting in (*OF_PRESETS, Setting(hidden=[16, 8], bead_rmsprop=SMALL)):
        text = repr(setting)
        assert eval(text, names) == setting
        assert len(text) < 240
    assert repr(Setting(L0=1e-2, rmsprop=SMALL)) == "Setting(L0=0.01, rmsprop=RMSProp(budget=400))"


def test_a_setting_survives_pickle_copies_and_json():
    for setting in OF_PRESETS:
        as_json = Setting.from_json(json.loads(json.dumps(asdict(setting))))
        for other in (pickle.loads(pickle.dumps(setting)), copy.deepcopy(setting), as_json):
            assert other == setting
            assert hash(other) == hash(setting)


def test_lists_and_numpy_numbers_make_the_same_setting():
    plain = Setting(hidden=(8, 4), L0=0.5, depth=3, samples=7)
    for hidden in ([8, 4], np.array([8, 4]), (np.int32(8), np.int64(4))):
        setting = Setting(hidden=hidden, L0=np.float64(0.5), depth=np.int8(3), samples=np.int64(7))
        assert (setting, repr(setting)) == (plain, repr(plain))
    assert grid(plain, hidden=[np.int64(8), 4]) == (plain,)
    assert grid(plain, hidden=[[8, 4], (2, 2)])[0] == plain
