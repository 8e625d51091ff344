import pytest

from heila_mosaik.bridges.lab.relay import Bay


@pytest.fixture(scope="session", autouse=True)
def _kernels_are_compiled():
    """The first solution of a fresh checkout compiles for a minute; no test's time limit should pay for it."""
    Bay()
