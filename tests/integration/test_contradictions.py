"""Evidence against a log in a home: what its node names and it believes, and what it finds itself."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from clients.client import Client
from clients.commands.notices import finish
from clients.contradictions import FILES_PER_LOG_MAX, files, keep
from clients.errors import Tampering
from clients.following import Alarm, Follower
from keys.fork import Fork, check
from protocol.treehead import Receipt
from tests.support.forks import SIZE, fork, honest, rewritten
from tests.support.live import now_ms
from tests.support.twoledgers import TwoLedgers, node_of
from tests.support.world import ORIGINS

PK, CN = ORIGINS["PK"], ORIGINS["CN"]


@pytest.fixture
def two(tmp_path: Path) -> TwoLedgers:
    return TwoLedgers(tmp_path)


@pytest.fixture
def reader(two: TwoLedgers) -> Iterator[Client]:
    """A seat of CN, which reads PK's ledger from CN's mirror."""
    with two.seat("cn-liaison") as client:
        yield client


def evidence(two: TwoLedgers, at: int = 300) -> bytes:
    """That PK's log signed two histories: what CN's node found."""
    before = honest("PK", two.world.pin)
    return fork(before.checkpoint(at), rewritten(before), SIZE, at, [two.world.publication()]).encode()


def name(client: Client, data: bytes, origin: str = PK) -> str:
    """The node names it in every part of a ledger, and has it; the path at which it is asked for."""
    sha256 = hashlib.sha256(data).digest()
    node_of(client).spoil[origin] = lambda part: part.replace(evidence=sha256)
    path = f"/v1/evidence/{sha256.hex()}"
    node_of(client).files[path] = data
    return path


def alarms(client: Client) -> list[tuple[str, str, int | None]]:
    """Check, origin and index of each."""
    return [(check, origin, index) for _, check, origin, index, _ in client.state.alarms()]


async def test_evidence_that_a_page_names_is_fetched_checked_kept_and_told(two: TwoLedgers, reader: Client) -> None:
    """On every screen from then on, by the log's name; asked for once. SPEC 11.8.1."""
    data = evidence(two)
    path = name(reader, data)
    await reader.sync()
    await reader.sync()
    assert node_of(reader).requested.count(path) == 1
    assert [(origin, kept) for _, origin, kept in files(reader.state)] == [(PK, data)]
    assert alarms(reader) == [("fork", PK, 299)]
    with pytest.raises(Tampering, match="fork"):
        finish(reader)
    with two.seat("cn-liaison") as later:
        name(later, data)
        await later.sync()
        assert path not in node_of(later).requested
        assert alarms(later) == [("fork", PK, 299)]


async def test_follow_tells_it_as_an_alarm(two: TwoLedgers, reader: Client) -> None:
    told: list[Alarm] = []

    async def hand(progress: object) -> None: ...

    follower = Follower(reader, "print", hand, lambda event: None, told.append, count=1)
    name(reader, evidence(two))
    two.admit("CN", two.world.bulletin("cn-embassy", ("cn-liaison",), created=now_ms(), feed="sites"))
    await follower.run()
    assert [(one[1], one[2]) for one in told] == [("fork", PK)]


REFUSED: dict[str, Callable[[TwoLedgers], bytes]] = {
    "garbage": lambda two: b"garbage",
    "an honest log": lambda two: fork(
        honest("PK", two.world.pin).checkpoint(300), honest("PK"), SIZE, 300, [two.world.publication()]
    ).encode(),
    "another log": lambda two: fork(
        honest("CN").checkpoint(300), rewritten(honest("CN")), SIZE, 300, [two.world.publication()]
    ).encode(),
    "another exchange": lambda two: fork(honest().checkpoint(300), rewritten(honest()), SIZE, 300).encode(),
}


@pytest.mark.parametrize("made", REFUSED.values(), ids=REFUSED.keys())
async def test_what_shows_nothing_is_told_once_and_is_no_alarm(
    two: TwoLedgers, reader: Client, made: Callable[[TwoLedgers], bytes], capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever names it. SPEC 11.8.1."""
    path = name(reader, made(two))
    await reader.sync()
    await reader.sync()
    assert node_of(reader).requested.count(path) == 1
    with two.seat("cn-liaison") as later:
        name(later, made(two))
        await later.sync()
    assert (files(reader.state), alarms(reader)) == ([], [])
    assert capsys.readouterr().err.count("shows nothing") <= 2  # other signatures make another file


async def test_a_file_that_is_not_the_one_named_is_refused(two: TwoLedgers, reader: Client) -> None:
    path = name(reader, b"another")
    node_of(reader).files[path] = evidence(two)
    await reader.sync()
    assert (files(reader.state), alarms(reader)) == ([], [])


async def test_directories_that_never_stood_in_the_home_ledger_say_nobody_s_keys(
    two: TwoLedgers, reader: Client
) -> None:
    """Keys that were rotated out could sign one that names keys of their own."""
    before = honest("PK", two.world.pin)
    signed = [two.world.publication(), two.world.with_directory(issued=now_ms()).publication()]
    data = fork(before.checkpoint(300), rewritten(before), SIZE, 300, signed).encode()
    check(Fork.decode(data), two.world.pin)
    name(reader, data)
    await reader.sync()
    assert (files(reader.state), alarms(reader)) == ([], [])


async def test_what_cannot_be_had_holds_up_nothing(two: TwoLedgers, reader: Client) -> None:
    node_of(reader).spoil[PK] = lambda part: part.replace(evidence=bytes(32))
    assert await reader.sync() > 0
    assert (files(reader.state), alarms(reader)) == ([], [])


async def test_a_receipt_that_a_checkpoint_breaks_becomes_evidence(two: TwoLedgers) -> None:
    """The node lost what it promised and its log signed on: the sender can show it to anybody. SPEC 14.4.2."""
    with two.seat("pk-liaison") as sender:
        await sender.sync()
        covered = two.note(PK)
        node_of(sender).spoil[PK] = lambda part: part.replace(checkpoint=covered)
        submission = two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms())
        (receipt,) = two.admit("PK", submission)
        with sender.state.transaction():
            sender.state.add_evidence(now_ms(), PK, receipt.index, "receipt", receipt.encode())
        await sender.sync()
        assert files(sender.state) == []  # ahead of the checkpoint it breaks nothing
        two.fork("PK", receipt.index)
        for _ in range(3):
            two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
        node_of(sender).spoil.clear()
        await sender.sync()
        ((_, origin, data),) = files(sender.state)
        shown = check(Fork.decode(data), sender.pin)
        assert (origin, shown.fork.old) == (PK, receipt.head)
        assert ("fork", PK, receipt.head.size - 1) in alarms(sender)
        count = len(node_of(sender).requested)
        await sender.sync()
        assert len(node_of(sender).requested) == count


async def test_a_receipt_that_was_kept_by_mistake_accuses_nobody(two: TwoLedgers) -> None:
    with two.seat("pk-liaison") as sender:
        (receipt,) = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
        two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
        with sender.state.transaction():
            sender.state.add_evidence(now_ms(), PK, receipt.index, "receipt", receipt.encode())
        await sender.sync()
        assert (files(sender.state), alarms(sender)) == ([], [])
        assert Receipt.decode(sender.state.evidence()[0][4]) == receipt


async def test_two_checkpoints_that_a_home_was_shown_become_evidence(two: TwoLedgers, reader: Client) -> None:
    """Of sizes that differ, by the tiles that its node serves of the mirror."""
    lost = two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))[0].index
    await reader.sync()
    two.fork("PK", lost)
    for _ in range(4):
        two.admit("PK", two.world.bulletin("pk-liaison", ("cn-liaison",), created=now_ms()))
    await reader.sync()
    ((_, origin, data),) = files(reader.state)
    shown = check(Fork.decode(data), reader.pin)
    assert (origin, shown.old.size, shown.new.size) == (PK, lost + 1, lost + 4)


async def test_a_home_keeps_a_pair_once_and_a_log_s_up_to_a_bound(two: TwoLedgers, reader: Client) -> None:
    """SPEC 14.4.3."""
    for at in (300, 300, *range(301, 301 + FILES_PER_LOG_MAX)):
        keep(reader.state, check(Fork.decode(evidence(two, at)), reader.pin))
    assert len(files(reader.state)) == len(alarms(reader)) == FILES_PER_LOG_MAX
