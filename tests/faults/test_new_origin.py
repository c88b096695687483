"""A ledger whose tail is lost for good: a new one begins with the old one's governance."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from broker.errors import NodeHomeError
from broker.home import NodeConfig, NodeHome
from broker.ledger import Ledger
from broker.restore import admit, enter_history
from keys.errors import BadSignature
from keys.judge import Refused
from keys.secret import Secret
from protocol.statements import Kind
from tests.support.altering import replace
from tests.support.live import PASSPHRASE, now_ms, world_of_today
from tests.support.world import ORIGINS, World, digest_of, open_ledger, seed, signing_key

NEW = "pk2.khunjerab.test/ledger"


def moved(world: World, home: NodeHome) -> World:
    """The next directory: the new node in the old one's place, and every agency of it at home there."""
    directory = world.directory
    card = home.card(home.keys(PASSPHRASE))
    nodes = tuple(card if node.origin == ORIGINS["PK"] else node for node in directory.nodes)
    agencies = tuple(
        replace(agency, home=NEW) if agency.home == ORIGINS["PK"] else agency for agency in directory.agencies
    )
    return world.with_directory(nodes=nodes, agencies=agencies)


@pytest.fixture
def world() -> World:
    return world_of_today()


@pytest.fixture
def home(tmp_path: Path, world: World) -> NodeHome:
    """A new node that keeps the history of an old ledger, in which a key was revoked."""
    old = open_ledger(tmp_path, world, now=now_ms())
    admit(old, world.revocation("cn-liaison/desk", created=now_ms()), now_ms())
    admit(old, world.bulletin(created=now_ms(), to=("cn-embassy",)), now_ms())
    old.storage.close()
    config = NodeConfig(NEW, "PK", "http://127.0.0.1:9", "127.0.0.1:9")
    home = NodeHome.create(tmp_path / "new", config, PASSPHRASE, seed("new node", 192))
    home.keep_history(tmp_path / "pk-ledger.db")
    return home


def test_it_begins_with_every_directory_and_what_still_counts(home: NodeHome, world: World) -> None:
    """Version 1, the version that lists it, then copies of bundles and revocations; no bulletin."""
    then = moved(world, home)
    with closing(home.storage()) as storage, closing(home.history()) as before:
        ledger = Ledger(storage, NEW, world.pin, home.keys(PASSPHRASE).receipt)
        entered = enter_history(ledger, before, then.publication(), now_ms())
        kinds = [storage.entry(index).kind for index in range(entered)]  # type: ignore[union-attr]
        assert kinds == [Kind.DIRECTORY, Kind.DIRECTORY, *[Kind.KEY_BUNDLE] * len(world.bundles), Kind.REVOCATION]
        assert ledger.exchange.in_force == then.directory
        assert ledger.exchange.is_revoked("cn-liaison", signing_key("cn-liaison/desk").public.key_id)
        admit(ledger, then.bulletin(to=("cn-embassy",), created=now_ms()), now_ms())


def test_what_custodians_did_not_sign_begins_nothing(home: NodeHome, world: World) -> None:
    """The judge of the new ledger is the judge of every ledger."""
    then = moved(world, home)
    with closing(home.storage()) as storage, closing(home.history()) as before:
        ledger = Ledger(storage, NEW, world.pin, home.keys(PASSPHRASE).receipt)
        with pytest.raises((Refused, BadSignature)):
            enter_history(ledger, before, then.publication("pk-custodian-1"), now_ms())


def test_without_a_history_a_ledger_begins_with_version_1(tmp_path: Path) -> None:
    """A home of no past has none to begin with."""
    config = NodeConfig(NEW, "PK", "http://127.0.0.1:9", "127.0.0.1:9")
    home = NodeHome.create(tmp_path / "bare", config, PASSPHRASE, Secret(bytes(192)))
    with pytest.raises(NodeHomeError, match="version 1"):
        home.history()


def test_the_statements_are_the_old_ones(home: NodeHome, world: World) -> None:
    """Governance belongs to the exchange, not to a ledger: it is known by the same hash in both."""
    then = moved(world, home)
    with closing(home.storage()) as storage, closing(home.history()) as before:
        enter_history(
            Ledger(storage, NEW, world.pin, home.keys(PASSPHRASE).receipt), before, then.publication(), now_ms()
        )
        for agency in world.bundles:
            assert storage.seen(digest_of(world.key_bundle(agency))) is not None
            assert before.seen(digest_of(world.key_bundle(agency))) is not None
