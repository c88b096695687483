"""Every test of the judge begins with the same world, and with PK's ledger after its founding, of its own."""

import functools

import pytest

from tests.support.paper import PaperLedger
from tests.support.world import World


@functools.cache
def _founded() -> PaperLedger:
    return PaperLedger(World.found())


@pytest.fixture
def world() -> World:
    return World.found()


@pytest.fixture
def paper() -> PaperLedger:
    return _founded().copy()
