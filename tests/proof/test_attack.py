"""The attack on the certificate in `benchmarks/`, in short: it covers every unit, finds nothing."""

import attack_bounds
import numpy as np
import pytest

from nconvex import textbook


def test_every_activation_is_attacked():
    assert set(attack_bounds.UNITS) == set(attack_bounds.DIGITS) == set(textbook.ACTIVATIONS)


@pytest.mark.parametrize("kind", attack_bounds.KINDS)
def test_no_bound_is_too_low(kind):
    tally = attack_bounds.Tally()
    with np.errstate(all="ignore"):
        for seed in range(4):
            assert list(attack_bounds.attack(np.random.default_rng(seed), kind, tally, 4)) == []
    assert tally.intervals + tally.silent == 16
    assert tally.violations == 0
