"""What a mirror takes of a peer and what not (broker/mirror.py): honest parts, and each way in which one can lie."""

from __future__ import annotations

import contextlib
import hashlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker import fsck
from broker.errors import StorageError
from broker.mirror import Contradicted, PartRefused
from broker.mirrors import Mirrors
from broker.storage import mirrored
from broker.storage.mirrored import Mirrored
from keys.finding import Report
from protocol import limits
from protocol.content import Version
from protocol.entry import Entry, Link
from protocol.statements import AcknowledgementLine, Bulletin, Kind
from protocol.times import DAY_MS
from protocol.treehead import Receipt
from tests.support.altering import replace
from tests.support.mirroring import Site, entry_of, forged, signed_head
from tests.support.world import CONTENT, NOW, ORIGINS, World, line_about, signed, signing_key

SKEW_MS = 60_000


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    site = Site(tmp_path)
    yield site
    site.close()


# What is honest


async def test_every_entry_is_held_with_what_its_agencies_need(site: Site) -> None:
    """Bodies and wraps of what is for an agency here; of the peer's domestic traffic the entry alone. SPEC 11.2.5."""
    abroad = site.post(site.world.bulletin())
    at_home = site.post(site.world.bulletin(to=("pk-site-security",), feed="sites"))
    taken = await site.take()
    assert taken.entries == site.ledger.tree.size == site.mirror.size
    assert "cn-liaison" in taken.readers
    assert site.mirror.head == site.ledger.head
    storage = site.mirror.storage
    assert storage.entry_bytes(0, 99) == site.ledger.storage.entry_bytes(0, 99)
    assert storage.body(abroad.index) == site.ledger.storage.body(abroad.index) is not None
    assert storage.wraps(abroad.index) == site.ledger.storage.wraps(abroad.index)
    assert storage.body(at_home.index) is None
    assert storage.wraps(at_home.index) == []
    assert site.mirror.storage.flags() == []


async def test_a_large_body_is_fetched(site: Site) -> None:
    """As it is too long for the page."""
    long = replace(CONTENT, versions=(Version("en", "Long", "x" * 90_000),))
    receipt = site.post(site.world.bulletin(content=long))
    await site.take()
    body = site.mirror.storage.body(receipt.index)
    assert body is not None
    assert site.asked == [hashlib.sha256(body).digest()]


async def test_a_part_ends_where_its_bodies_would_be_too_much(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those that are fetched count like those that come with it, those that are for nobody here do not. SPEC 2."""
    monkeypatch.setattr(limits, "PAGE_BYTES_MAX", 300_000)
    long = replace(CONTENT, versions=(Version("en", "Long", "x" * 90_000),))
    founded = site.ledger.tree.size
    for _ in range(4):
        site.post(site.world.bulletin(to=("pk-site-security",), feed="sites", content=long))
    for _ in range(7):
        site.post(site.world.bulletin(content=long))
    counts = []
    for _ in range(2):  # just posted, and read anew
        at, taken = founded, list[int]()
        while at < site.ledger.tree.size:
            part = site.part(after=at)
            at = part.next
            taken.append(sum(item.body is None and bool(item.wrap) for item in part.items))
        counts.append(taken)
        site.reopen_peer()
    assert counts == [[2, 3, 2]] * 2
    while site.mirror.size < site.ledger.tree.size:
        await site.take()
    assert len(site.asked) == 7


async def test_a_backlog_is_shown_once_a_signed_head_is_reached(site: Site) -> None:
    """Each page is proved to belong to its head; readers see nothing before all of a head is here. SPEC 11.9.5."""
    for _ in range(9):
        site.post(site.world.bulletin())
    first = site.part(limit=5)
    await site.take(first)
    assert (site.mirror.size, site.mirror.head.size) == (5, 0)
    site.post(site.world.bulletin())  # meanwhile the ledger grows
    while site.mirror.size < first.head.size:
        await site.take(site.part(limit=5))
    assert first.head.size <= site.mirror.head.size <= site.mirror.size
    await site.take()
    assert site.mirror.head == site.ledger.head


async def test_a_restart_goes_on_where_the_mirror_ended(site: Site) -> None:
    """With head, checkpoint and verdicts as they were."""
    site.post(site.world.bulletin())
    site.publish()
    await site.take()
    before = site.mirror.size, site.mirror.head, site.mirror.published, site.mirror.exchange
    again = site.reopen()
    assert (again.size, again.head, again.published, again.exchange) == before
    site.post(site.world.bulletin())
    await site.take()
    assert again.size == site.ledger.tree.size
    assert again.storage.flags() == []


async def test_a_checkpoint_is_kept_with_its_cosignatures(site: Site) -> None:
    """Also where it comes without entries; never one that is older, or beyond what is shown."""
    site.post(site.world.bulletin())
    await site.take()
    assert site.mirror.published is None
    note = site.publish()
    taken = await site.take()
    assert (taken.entries, taken.checkpoint) == (0, True)
    assert site.mirror.published is not None
    assert site.mirror.published.note == note
    site.post(site.world.bulletin())
    early = site.part()
    site.publish()
    ahead = early.replace(checkpoint=site.part().checkpoint, items=(), next=site.mirror.size)
    ahead = ahead.replace(consistencies=site.part(limit=0).consistencies)
    assert not (await site.take(ahead)).checkpoint


def test_a_mirror_is_made_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed while it makes one, a node starts again all the same."""
    real = mirrored.create

    def dying(path: Path) -> None:
        path.write_bytes(b"half of it")
        raise KeyboardInterrupt

    monkeypatch.setattr(mirrored, "create", dying)
    mirrors = Mirrors(tmp_path, ORIGINS["CN"], World.found().pin, lambda: NOW)
    with pytest.raises(KeyboardInterrupt):
        mirrors.open(ORIGINS["PK"])
    monkeypatch.setattr(mirrored, "create", real)
    mirrors.open_all([ORIGINS["PK"]])
    assert list(mirrors) == []
    assert mirrors.open(ORIGINS["PK"]).size == 0
    mirrors.close()


# What leaves nothing behind


@pytest.mark.parametrize("start", [0, 1])
async def test_a_gap_or_a_repeat_is_refused(site: Site, start: int) -> None:
    """(1) Entries go on where the mirror ends. SPEC 11.9.1."""
    site.post(site.world.bulletin())
    part = site.part()
    lacking = part.items[:3] + part.items[4:] if start == 0 else part.items[1:]
    with pytest.raises(PartRefused):
        await site.take(part.replace(items=lacking))
    await site.take(part)
    with pytest.raises(PartRefused):
        await site.take(part)
    assert site.mirror.size == part.next


async def test_a_cursor_that_runs_ahead_of_the_entries_is_refused(site: Site) -> None:
    """(1) Nothing is left out. SPEC 11.9.1."""
    part = site.part()
    with pytest.raises(PartRefused):
        await site.take(part.replace(items=part.items[:-1]))
    assert site.mirror.size == 0


@pytest.mark.parametrize("how", ["altered", "unproved", "wrong proof"])
async def test_entries_that_are_not_the_heads_leave_nothing(site: Site, how: str) -> None:
    """(3) SPEC 11.9.1."""
    site.post(site.world.bulletin())
    part = site.part(limit=5 if how != "altered" else 256)
    if how == "altered":
        last = part.items[-1]
        altered = Entry.decode(last.entry).replace(time=NOW + 1)
        other = last.replace(entry=altered.encode())
        part = part.replace(items=(*part.items[:-1], other))
    elif how == "unproved":
        part = part.replace(consistencies=())
    else:
        (joint,) = part.consistencies
        part = part.replace(consistencies=(joint.replace(path=(bytes(32),) * len(joint.path)),))
    with pytest.raises(PartRefused):
        await site.take(part)
    assert (site.mirror.size, site.mirror.tree.size, site.mirror.storage.size()) == (0, 0, 0)
    await site.take()
    assert site.mirror.head == site.ledger.head


@pytest.mark.parametrize("signer", ["CN", "pk-liaison/desk"])
async def test_a_head_that_its_node_did_not_sign_is_refused(site: Site, signer: str) -> None:
    """(4) Another node's, or anybody's. SPEC 11.9.1."""
    part = site.part()
    with pytest.raises(PartRefused):
        await site.take(part.replace(head=signed_head(part, part.head.size, part.head.root, signer)))
    assert site.mirror.size == 0


async def test_a_head_of_another_exchange_or_ledger_is_refused(site: Site) -> None:
    """(4) However well signed. SPEC 11.9.1."""
    part = site.part()
    for changes in ({"exchange": bytes(32)}, {"origin": ORIGINS["CN"]}):
        head = part.head.replace(**changes, signature=None)
        head = head.replace(signature=signing_key("PK").sign(head.message(), 1))
        with pytest.raises(PartRefused):
            await site.take(part.replace(head=head))


async def test_a_checkpoint_that_its_log_did_not_sign_is_refused(site: Site) -> None:
    """(4) SPEC 11.9.1."""
    part = site.part()
    site.publish()
    with pytest.raises(PartRefused):
        await site.take(part.replace(checkpoint=site.part().checkpoint.replace("\n— ", "\n— x", 1)))
    assert site.mirror.published is None


async def test_another_tree_under_a_signed_head_is_a_contradiction(site: Site, tmp_path: Path) -> None:
    """(3) (5) What was signed before is not extended: nothing is kept, and it is told as more than a bad page."""
    site.post(site.world.bulletin())
    await site.take()
    (tmp_path / "fork").mkdir()
    fork = Site(tmp_path / "fork", site.world)
    fork.post(site.world.bulletin())
    shown = fork.part(after=fork.ledger.tree.size)
    with pytest.raises(Contradicted) as found:
        await site.take(shown)
    assert found.value.signed == shown.head
    fork.publish()
    shown = site.part().replace(checkpoint=fork.part().checkpoint)
    with pytest.raises(Contradicted) as found:
        await site.take(shown)
    assert isinstance(found.value.signed, str)
    fork.close()


async def test_a_store_that_fails_leaves_the_mirror_as_it_was(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """In the file and in memory; the next part goes on from there."""
    site.post(site.world.bulletin())
    await site.take()
    site.post(site.world.revocation("pk-liaison/duty"))
    real = site.mirror.storage.append_mirrored

    def failing(group: Mirrored) -> None:
        del group
        raise StorageError("disk full")

    monkeypatch.setattr(site.mirror.storage, "append_mirrored", failing)
    size, exchange = site.mirror.size, site.mirror.exchange
    with pytest.raises(StorageError):
        await site.take()
    assert (site.mirror.size, site.mirror.tree.size, site.mirror.exchange) == (size, size, exchange)
    monkeypatch.setattr(site.mirror.storage, "append_mirrored", real)
    await site.take()
    assert site.mirror.exchange == site.ledger.exchange
    assert site.mirror.storage.flags() == []


# What is kept, flagged, and never delivered


def line_of(site: Site, receipt: Receipt) -> AcknowledgementLine:
    """What a recipient says of a bulletin that the peer's ledger has."""
    entry = site.ledger.storage.entry(receipt.index)
    assert isinstance(entry, Entry)
    return line_about(ORIGINS["PK"], receipt.index, entry, time=site.now)


async def refused_index(site: Site, *entries: bytes) -> int:
    """Where the first of entries stands that the mirror took from an operator who lies."""
    index = site.mirror.size
    await site.take(forged(site, *entries))
    return index


async def test_a_bulletin_that_the_judge_refuses_is_flagged_with_its_step(site: Site) -> None:
    """(2) Kept and in the tree, but for nobody, and no target of anything after it. SPEC 11.9.1, 11.9.3."""
    await site.take()
    refused = site.world.bulletin(
        sender="pk-site-security", label=site.world.header().label.replace(classification="Secret")
    )
    index = await refused_index(site, entry_of(site, refused.kind, refused.statement, refused.signatures))
    (flag,) = site.mirror.storage.flags()
    assert (flag.index, flag.step, flag.effect) == (index, 3, False)
    assert site.mirror.storage.deliveries("cn-liaison", index, index + 1, 9) == []
    assert site.mirror.storage.deliveries(None, index, index + 1, 9) == [index]
    header = Bulletin.decode(refused.statement).header
    assert site.mirror.storage.first(header.sender, header.id) is None


async def test_a_signature_that_does_not_hold_is_found_among_many(site: Site) -> None:
    """(2) Whoever stands beside it is taken; what refers to it has no target. SPEC 11.9.1."""
    await site.take()
    good, bad = (site.world.bulletin() for _ in range(2))
    lying = bad.replace(signatures=signed(Bulletin.decode(bad.statement), "cn-liaison/desk", suite=1).signatures)
    broken = bytearray(bad.signatures)
    broken[-2] ^= 1
    entries = [entry_of(site, s.kind, s.statement, s.signatures) for s in (good, lying)]
    entries.insert(1, entry_of(site, bad.kind, bad.statement, bytes(broken)))
    index = await refused_index(site, *entries)
    flags = {flag.index - index: (flag.name, flag.step) for flag in site.mirror.storage.flags()}
    assert flags == {1: ("bad-signature", 8), 2: ("wrong-signer", 4)}
    header = Bulletin.decode(bad.statement).header
    assert site.mirror.storage.first(header.sender, header.id) is None
    assert site.mirror.storage.deliveries("cn-liaison", index, index + 3, 9) == [index]


async def test_what_is_no_entry_is_flagged_and_the_ledger_goes_on(site: Site) -> None:
    """(2) Bytes of any sort; a restart changes nothing. SPEC 11.9.3."""
    await site.take()
    index = await refused_index(site, b"\x00\x01garbage")
    assert [(flag.index, flag.name) for flag in site.mirror.storage.flags()] == [(index, "entry-form")]
    site.reopen()
    assert site.mirror.is_refused(index)
    following = site.world.bulletin()
    await refused_index(site, entry_of(site, following.kind, following.statement, following.signatures))
    assert len(site.mirror.storage.flags()) == 1


async def test_governance_that_is_refused_goes_to_everyone_and_has_no_effect(site: Site) -> None:
    """Later links name it; a restart folds it no more than before. SPEC 11.9.3."""
    await site.take()
    by_stranger = site.world.revocation("pk-liaison/desk", by=("cn-liaison/identity",))
    index = await refused_index(site, entry_of(site, by_stranger.kind, by_stranger.statement, by_stranger.signatures))
    assert site.mirror.storage.deliveries("cn-liaison", index, index + 1, 9) == [index]
    key_id = signing_key("pk-liaison/desk").public.key_id
    for mirror in (site.mirror, site.reopen()):
        assert not mirror.exchange.is_revoked("pk-liaison", key_id)
    following = site.world.bulletin()
    data = Entry(
        following.kind, following.statement, following.signatures, site.now, Link(Kind.REVOCATION, index)
    ).encode()
    await refused_index(site, data)
    assert [flag.index for flag in site.mirror.storage.flags()] == [index]


@pytest.mark.parametrize("ahead_ms, flagged", [(SKEW_MS, []), (SKEW_MS + DAY_MS + 1, ["time-ahead"])])
async def test_an_entry_far_ahead_of_this_clock_is_flagged(site: Site, ahead_ms: int, flagged: list[str]) -> None:
    """(6) By more than the skew and a day; it stands all the same. SPEC 11.9.2."""
    await site.take()
    bulletin = site.world.bulletin(expires=site.now + 3 * DAY_MS)
    entry = entry_of(site, bulletin.kind, bulletin.statement, bulletin.signatures, time=site.now + ahead_ms)
    index = await refused_index(site, entry)
    assert [flag.name for flag in site.mirror.storage.flags()] == flagged
    header = Bulletin.decode(bulletin.statement).header
    assert site.mirror.storage.first(header.sender, header.id) is not None
    assert site.mirror.storage.deliveries("cn-liaison", index, index + 1, 9) == ([] if flagged else [index])


@pytest.mark.parametrize("ahead_ms", [SKEW_MS + 1, SKEW_MS + DAY_MS])
async def test_an_entry_ahead_of_this_clock_is_taken_when_its_time_has_come(site: Site, ahead_ms: int) -> None:
    """(6) Whoever's clock is wrong: it is neither lost nor shown before. SPEC 11.9.2."""
    await site.take()
    bulletin = site.world.bulletin(expires=site.now + 3 * DAY_MS)
    entry = entry_of(site, bulletin.kind, bulletin.statement, bulletin.signatures, time=site.now + ahead_ms)
    part, index = forged(site, entry), site.mirror.size
    for _ in range(2):
        with pytest.raises(PartRefused, match="clock-skew"):
            await site.take(part)
        assert (site.mirror.size, site.mirror.storage.flags()) == (index, [])
        site.now += ahead_ms - SKEW_MS - 1
    site.now += 1
    await site.take(part)
    assert site.mirror.storage.flags() == []
    assert site.mirror.storage.deliveries("cn-liaison", index, index + 1, 9) == [index]


@pytest.mark.parametrize("late", [False, True])
async def test_an_entry_from_before_a_checkpoint_without_it_is_flagged(site: Site, late: bool) -> None:
    """(6) Whichever came here first; it is delivered to nobody, from then on, and fsck knows. SPEC 11.9.2, 11.9.3."""
    target = site.post(site.world.bulletin(to=("pk-site-security",), feed="sites"))
    await site.take()
    posted = [
        site.world.bulletin(created=site.now - SKEW_MS),
        site.world.acknowledgement("pk-site-security", "pk-liaison", [line_of(site, target)]),
        site.world.suspension("pk-site-security"),
    ]
    backdated = [entry_of(site, one.kind, one.statement, one.signatures) for one in posted]
    backdated.insert(1, b"no entry")
    site.now += SKEW_MS + 1000
    note = site.publish()
    if not late:
        await site.take()
    part = forged(site, *backdated)
    first = site.mirror.size
    await site.take(part)
    if late:
        assert [(flag.index, flag.name) for flag in site.mirror.storage.flags()] == [(first + 1, "entry-form")]
        assert site.served(first) == [first, first + 3]
        await site.take(part.replace(items=(), checkpoint=note))
    flags = [(flag.index - first, flag.name, flag.effect) for flag in site.mirror.storage.flags()]
    assert flags == [(0, "backdated", True), (1, "entry-form", False), *((at, "backdated", True) for at in (2, 3))]
    assert site.served(first) == [first + 3]
    assert site.mirror.storage.deliveries("pk-site-security", first, first + 4, 9) == [first + 3]
    assert len(site.mirror.storage.acknowledged(ORIGINS["PK"], target.index)) == 1
    assert checked(site).findings == ()


async def test_a_checkpoint_signed_anew_shows_backdated_entries_too(site: Site) -> None:
    """(6) Of the same size, but later. SPEC 11.9.2."""
    await site.take()
    site.publish()
    await site.take()
    bulletin = site.world.bulletin(created=site.now - SKEW_MS)
    backdated = entry_of(site, bulletin.kind, bulletin.statement, bulletin.signatures)
    part, first = forged(site, backdated), site.mirror.size
    await site.take(part)
    assert site.mirror.storage.flags() == []
    site.now += SKEW_MS + 1000
    await site.take(part.replace(items=(), checkpoint=site.publish()))
    assert [(flag.index, flag.name) for flag in site.mirror.storage.flags()] == [(first, "backdated")]


@pytest.mark.parametrize("what", ["body", "wraps", "both"])
async def test_a_body_or_wraps_that_were_not_signed_are_as_good_as_missing(site: Site, what: str) -> None:
    """The entry stands; its readers are told that the body is missing. SPEC 11.9.3."""
    receipt = site.post(site.world.bulletin())
    part = site.part()
    last = part.items[-1]
    body = b"another" if what in {"body", "both"} else last.body
    wrap = bytes(len(last.wrap or b"")) if what in {"wraps", "both"} else last.wrap
    await site.take(part.replace(items=(*part.items[:-1], last.replace(body=body, wrap=wrap))))
    assert site.mirror.storage.flags() == []
    assert site.mirror.storage.body(receipt.index) is None
    assert site.mirror.storage.wraps(receipt.index) == []


async def test_a_body_that_did_not_come_is_asked_for_again(site: Site) -> None:
    """As of a peer that was restored and lacks it still; until it is there, or the bulletin expired. SPEC 11.9.3."""
    await site.take()
    receipts = [site.post(site.world.bulletin()) for _ in range(2)]
    site.post(site.world.bulletin(to=("pk-site-security",), feed="sites"))  # nobody here is to have it
    part = site.part()
    bare = tuple(item.replace(body=None, wrap=None, withheld="missing") for item in part.items)
    await site.take(part.replace(items=bare))
    storage = site.mirror.storage
    assert storage.lacking(0, 9) == [receipt.index for receipt in receipts]

    async def nothing(sha256: bytes) -> None:
        del sha256

    assert await site.mirror.complete(nothing) == 0
    assert await site.mirror.complete(site.fetch) == 2
    for receipt in receipts:
        assert storage.body(receipt.index) == site.ledger.storage.body(receipt.index)
        assert storage.wraps(receipt.index) == site.ledger.storage.wraps(receipt.index)
    site.asked.clear()
    assert (await site.mirror.complete(site.fetch), site.asked) == (0, [])
    site.post(site.world.bulletin())
    part = site.part()
    await site.take(part.replace(items=tuple(item.replace(body=None, wrap=None) for item in part.items)))
    site.now += 2 * DAY_MS
    assert (await site.mirror.complete(nothing), storage.lacking(0, 9)) == (0, [])


async def test_a_mirror_says_what_the_ledger_says(site: Site) -> None:
    """Verdicts, state and lookups, over governance of every kind. SPEC 11.9.1."""
    world = site.world
    site.post(world.bulletin())
    site.post(world.suspension("cn-embassy"))
    second: World = world.with_feed("convoys", domestic=True)
    site.post(second.publication())
    site.post(second.bulletin())
    site.post(world.revocation("pk-liaison/duty"))
    while site.mirror.size < site.ledger.tree.size:
        await site.take(site.part(limit=3))
    assert site.mirror.exchange == site.ledger.exchange
    assert site.mirror.storage.flags() == []
    for index in range(site.mirror.size):
        assert site.mirror.storage.entry(index) == site.ledger.storage.entry(index)


# What fsck says of it


def checked(site: Site) -> Report:
    site.reopen()
    return fsck.check(site.folder / "mirror.db", ORIGINS["PK"], site.world.pin, site.now)


async def test_fsck_passes_a_mirror_of_an_honest_peer(site: Site) -> None:
    """With words, bodies and a checkpoint in it."""
    receipt = site.post(site.world.bulletin())
    entry = site.ledger.storage.entry(receipt.index)
    assert isinstance(entry, Entry)
    site.post(site.world.revocation("pk-liaison/duty"))
    site.publish()
    await site.take()
    report = checked(site)
    assert (report.verdict, report.warnings) == ("ok", ())


async def test_fsck_knows_what_was_flagged(site: Site) -> None:
    """It is the peer's doing: told, and no finding about this node's file."""
    await site.take()
    bad, stranger = site.world.bulletin(), site.world.revocation("pk-liaison/desk", by=("cn-liaison/identity",))
    broken = bytearray(bad.signatures)
    broken[-2] ^= 1
    ahead = site.world.bulletin()
    await refused_index(
        site,
        b"\x00garbage",
        entry_of(site, bad.kind, bad.statement, bytes(broken)),
        entry_of(site, ahead.kind, ahead.statement, ahead.signatures, time=site.now + 2 * DAY_MS),
        entry_of(site, stranger.kind, stranger.statement, stranger.signatures, time=site.now + 2 * DAY_MS),
    )
    report = checked(site)
    assert report.findings == ()
    assert len([warning for warning in report.warnings if "delivered to nobody" in warning]) == 4


@pytest.mark.parametrize(
    "statement, check",
    [
        ("DELETE FROM flag", "bad-signature"),
        ("INSERT INTO flag VALUES (0, 'made-up', 3, '', 0)", "flag"),
        ("UPDATE mirrored SET head = CAST(head || x'00' AS BLOB)", "mirrored-head"),
        ("INSERT INTO delivery VALUES ('cn-liaison', 7)", "table-delivery"),
    ],
)
async def test_fsck_finds_what_was_done_to_a_mirror(site: Site, statement: str, check: str) -> None:
    """A flag taken away or made up, a head that is none, an entry delivered after all."""
    await site.take()
    bad = site.world.bulletin()
    broken = bytearray(bad.signatures)
    broken[-2] ^= 1
    await refused_index(site, entry_of(site, bad.kind, bad.statement, bytes(broken)))
    site.mirror.close()
    with contextlib.closing(sqlite3.connect(site.folder / "mirror.db")) as db:
        db.execute(statement)
        db.commit()
    report = fsck.check(site.folder / "mirror.db", ORIGINS["PK"], site.world.pin, site.now)
    assert check in {finding.check for finding in report.findings}
    with contextlib.closing(sqlite3.connect(site.folder / "mirror.db")) as db:
        db.execute("UPDATE mirrored SET head = x''")
        db.commit()
    site.mirror = site.open_mirror()


async def test_what_is_read_at_once_is_what_is_read_one_by_one(site: Site) -> None:
    """Long bodies are left to be fetched, a directory's JSON is not; an expunged body is told as such."""
    long = replace(CONTENT, versions=(Version("en", "Long", "x" * 90_000),))
    receipts = [site.post(site.world.bulletin(content=content)) for content in (CONTENT, long, CONTENT)]
    site.ledger.storage.expunge([receipts[2].index])
    at_once = list(site.part().items)
    site.reopen_peer()
    one_by_one = [item for index in range(site.ledger.tree.size) for item in site.part(limit=1, after=index).items]
    assert at_once == one_by_one
    assert one_by_one[0].body is not None
    assert [one_by_one[receipt.index].body is None for receipt in receipts] == [False, True, True]
    assert one_by_one[receipts[1].index].wrap is not None
    assert one_by_one[receipts[2].index].withheld
