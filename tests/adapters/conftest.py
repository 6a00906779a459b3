import sys

import pytest


@pytest.fixture(autouse=True, scope="session")
def one_thread():
    """Small layers on many threads wait for one another where other tests run beside them."""
    if "torch" in sys.modules:
        sys.modules["torch"].set_num_threads(1)
