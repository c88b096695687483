"""An operator with every key of a node rewrites its ledger: each way is found, by a named check, at its index.

What nobody but those who hold a receipt or an earlier checkpoint can tell passes without them: that is asserted too.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from broker import fsck
from keys.auditing import Terms, audit_ledger
from keys.claims import Claims
from keys.finding import Report
from keys.owed import verifying
from protocol.checkpoint import Checkpoint
from protocol.entry import Submission
from protocol.merkle import leaf_hash
from protocol.note import Note
from protocol.policy import Policy as DirectoryPolicy
from protocol.statements import Acknowledgement, Bulletin
from protocol.times import DAY_MS
from protocol.tlogpolicy import Policy
from tests.support.altering import replace
from tests.support.operator import (
    CHECKPOINTS,
    ENTRIES,
    LIFTING,
    NEXT_BUNDLE,
    NEXT_DIRECTORY,
    ORIGIN,
    REVOCATION,
    REVOKED,
    SUSPENSION,
    THIRD_BUNDLE,
    Honest,
    Operator,
    build,
    bulletin,
    relation_to,
    signed_checkpoint,
    time_of,
)
from tests.support.world import World, label, node_keys, signing_key

AFTER = time_of(ENTRIES) + 30_000
FIRST, MIDDLE, LAST = 7, 1003, ENTRIES - 1  # bulletins that no acknowledgement names
Act = Callable[[Operator, int], Any]


@pytest.fixture(scope="session")
def honest(tmp_path_factory: pytest.TempPathFactory) -> Honest:
    return build(tmp_path_factory.mktemp("operator"))


@pytest.fixture
def operator(honest: Honest, tmp_path: Path) -> Iterator[Operator]:
    with closing(Operator(honest, tmp_path)) as operator:
        yield operator


def audit(
    operator: Operator,
    published: str,
    earlier: tuple[str, ...] = (),
    receipts: tuple[int, ...] = (),
    policy: Policy | None = None,
    now: int = AFTER,
) -> Report:
    """What an auditor finds that is served this ledger and was handed these checkpoints, and receipts by index."""
    handed = tuple(operator.honest.receipts[index] for index in receipts)
    terms = Terms(operator.honest.world.pin, now, Claims(published, earlier, handed, policy), bodies=True)
    source = fsck.Stored(operator.path)
    with closing(source.db), verifying() as verifiers:
        return audit_ledger(ORIGIN, source, terms, verifiers)


def found(report: Report) -> list[tuple[int | None, str]]:
    return [(finding.index, finding.check) for finding in report.findings]


# What the entries themselves tell


def put(operator: Operator, index: int, submission: Submission) -> None:
    """Another statement in the place of the one that is there."""
    entry = operator.entry(index)
    operator.put(
        index, replace(entry, kind=submission.kind, statement=submission.statement, signatures=submission.signatures)
    )


def in_place(submission: Callable[[World, int], Submission]) -> Act:
    """The act of putting what it makes in the place of an entry."""
    return lambda operator, index: put(operator, index, submission(operator.honest.world, index))


def over_clearance(world: World, index: int) -> Submission:
    return bulletin(
        world, index, sender="pk-site-security", to=("pk-liaison",), feed="convoys", label=label("Confidential")
    )


def to_one_not_cleared(world: World, index: int) -> Submission:
    return bulletin(world, index, to=("cn-embassy",), label=label("Secret"), suite=2)


def by_a_revoked_seat(world: World, index: int) -> Submission:
    return bulletin(world, index, key_id=signing_key(REVOKED).public.key_id, signer=REVOKED)


def naming_a_directory_of_their_own(world: World, index: int) -> Submission:
    return bulletin(world, index, directory_hash=bytes(32))


def of_the_other_ledger(world: World, index: int) -> Submission:
    return bulletin(world, index, sender="cn-liaison")


def expired(world: World, index: int) -> Submission:
    return bulletin(world, index, expires=time_of(index) - 1)


def by_an_agency_without_the_role(world: World, index: int) -> Submission:
    return bulletin(world, index, sender="pk-auditor")


def sealed_to_one_seat_less(world: World, index: int) -> Submission:
    return bulletin(world, index, seats=world.seats(world.header(to=("pk-site-security",)))[:1])


def by_a_suspended_agency(world: World, index: int) -> Submission:
    return bulletin(world, index, sender="pk-site-security", to=("pk-liaison",))


def cancel_what_is_not_theirs(operator: Operator, index: int) -> None:
    relation = relation_to(operator, "cancels", FIRST)
    submission = bulletin(
        operator.honest.world, index, sender="pk-site-security", to=("pk-liaison",), relations=(relation,)
    )
    put(operator, index, submission)


def change_a_header(operator: Operator, index: int) -> None:
    entry = operator.entry(index)
    statement = Bulletin.decode(entry.statement)
    header = replace(statement.header, precedence="flash")
    operator.put(index, replace(entry, statement=replace(statement, header_bytes=header.encode()).encode()))


def change_an_acknowledgement(operator: Operator, index: int) -> None:
    entry = operator.entry(index)
    statement = Acknowledgement.decode(entry.statement)
    line = replace(statement.lines[0], state="acted")
    operator.put(index, replace(entry, statement=replace(statement, lines=(line,)).encode()))


def backdate(operator: Operator, index: int) -> None:
    entry = operator.entry(index)
    operator.put(index, replace(entry, time=entry.time - 5000))


def repeat(operator: Operator, index: int) -> None:
    first = operator.entry(index - 5)
    operator.put(index, replace(operator.entry(index), statement=first.statement, signatures=first.signatures))


def reuse_an_id(operator: Operator, index: int) -> None:
    number = Bulletin.decode(operator.entry(index - 1).statement).header.id
    put(operator, index, bulletin(operator.honest.world, index, id=number))


def put_rubbish(operator: Operator, index: int) -> None:
    operator.put_bytes(index, b"\x95rubbish")


def publish_a_directory_of_one_nation(operator: Operator, index: int) -> None:
    second = operator.honest.world.with_directory(issued=time_of(0), expires=time_of(0) + 10**9)
    submission = second.publication("pk-custodian-1", "pk-custodian-2")
    put(operator, index, submission)
    operator.db.execute(
        "INSERT OR REPLACE INTO body (idx, sha256, data) VALUES (?, ?, ?)",
        (index, second.directory.hash, submission.body),
    )


def change_a_body(operator: Operator, index: int) -> None:
    operator.db.execute("UPDATE body SET data = zeroblob(length(data)) WHERE idx = ?", (index,))


def drop_a_bundle(operator: Operator, index: int) -> None:
    operator.drop(NEXT_BUNDLE)


def drop_a_revocation(operator: Operator, index: int) -> None:
    operator.drop(REVOCATION)


EVERYWHERE = (FIRST, MIDDLE, LAST)
TOLD_BY_THE_ENTRIES: dict[str, tuple[Act, tuple[int, ...], str]] = {
    "over clearance": (in_place(over_clearance), EVERYWHERE, "sender-not-cleared"),
    "to one not cleared": (in_place(to_one_not_cleared), EVERYWHERE, "recipient-denied"),
    "by a revoked seat": (in_place(by_a_revoked_seat), (REVOCATION + 1, MIDDLE, LAST), "key-revoked"),
    "by a suspended agency": (in_place(by_a_suspended_agency), (SUSPENSION + 1, LIFTING - 1), "agency-suspended"),
    "without the role": (in_place(by_an_agency_without_the_role), EVERYWHERE, "role-missing"),
    "stale directory": (in_place(naming_a_directory_of_their_own), EVERYWHERE, "stale-directory"),
    "of the other ledger": (in_place(of_the_other_ledger), EVERYWHERE, "wrong-origin"),
    "expired": (in_place(expired), EVERYWHERE, "expired"),
    "one seat less": (in_place(sealed_to_one_seat_less), EVERYWHERE, "stale-keys"),
    "foreign cancel": (cancel_what_is_not_theirs, (FIRST + 1, MIDDLE, LAST), "not-yours"),
    "header changed": (change_a_header, EVERYWHERE, "bad-signature"),
    "acknowledgement changed": (change_an_acknowledgement, (10, 1010, 1990), "bad-signature"),
    "backdated among others": (backdate, (FIRST + 1, MIDDLE, LAST), "time-order"),
    "repeated": (repeat, (12, MIDDLE + 3, LAST), "seen-before"),
    "id reused": (reuse_an_id, (FIRST + 1, MIDDLE, LAST), "id-reused"),
    "rubbish": (put_rubbish, EVERYWHERE, "entry-form"),
    "directory of one nation": (publish_a_directory_of_one_nation, (MIDDLE, LAST), "threshold-missing"),
    "body changed": (change_a_body, EVERYWHERE, "body"),
    "bundle chain broken": (drop_a_bundle, (THIRD_BUNDLE - 1,), "bundle-chain"),
}
CASES = [
    pytest.param(act, index, check, id=f"{name} at {index}")
    for name, (act, places, check) in TOLD_BY_THE_ENTRIES.items()
    for index in places
]


@pytest.mark.parametrize("act, index, check", CASES)
def test_the_auditor_and_fsck_find_what_the_entries_tell(operator: Operator, act: Act, index: int, check: str) -> None:
    act(operator, index)
    assert (index, check) in found(audit(operator, operator.cover_up()))
    assert (index, check) in found(fsck.check(operator.path, ORIGIN, operator.honest.world.pin, AFTER))


@pytest.mark.parametrize("index", [REVOCATION, SUSPENSION, NEXT_DIRECTORY])
def test_governance_that_is_left_out_shows_in_the_next_link(operator: Operator, index: int) -> None:
    """SPEC 12.4.2, 14.2.1."""
    operator.drop(index)
    assert found(audit(operator, operator.cover_up(links=False)))[0] == (index, "governance-link")


@pytest.mark.parametrize("index", [0, NEXT_DIRECTORY])
def test_a_directory_whose_json_is_not_shown_has_no_effect(operator: Operator, index: int) -> None:
    operator.db.execute("UPDATE body SET data = x'7b7d' WHERE idx = ?", (index,))
    assert (index, "directory-missing") in found(audit(operator, operator.cover_up()))


def test_an_entry_from_the_future_is_found(operator: Operator) -> None:
    operator.append(bulletin(operator.honest.world, ENTRIES), AFTER + 3_600_000)
    assert found(audit(operator, operator.cover_up(time_s=AFTER // 1000 + 3600))) == [(ENTRIES, "time-ahead")]


def test_honest_ledgers_pass_with_all_that_others_hold(operator: Operator) -> None:
    """SPEC 14.2.1."""
    earlier, receipts = tuple(operator.honest.checkpoints.values()), tuple(range(0, ENTRIES, 7))
    report = audit(operator, operator.honest.checkpoints[ENTRIES], earlier, receipts)
    assert (report.verdict, report.findings, report.warnings, report.missing) == ("ok", (), (), ())


# What only those can tell who hold something: a receipt of an entry, or an earlier checkpoint


def swap(operator: Operator, index: int) -> None:
    operator.swap(index)


def insert(operator: Operator, index: int) -> None:
    operator.insert(index, bulletin(operator.honest.world, index))


def drop(operator: Operator, index: int) -> None:
    operator.drop(index)


def replace_with_another(operator: Operator, index: int) -> None:
    put(operator, index, bulletin(operator.honest.world, index))
    operator.db.execute("DELETE FROM body WHERE idx = ?", (index,))


REWRITTEN = {
    "dropped": (drop, EVERYWHERE),
    "swapped": (swap, (FIRST, MIDDLE, LAST - 1)),
    "inserted": (insert, EVERYWHERE),
    "replaced": (replace_with_another, EVERYWHERE),
    "a revocation hidden": (drop_a_revocation, (REVOCATION,)),
}
REWRITES = [
    pytest.param(act, index, id=f"{name} at {index}") for name, (act, places) in REWRITTEN.items() for index in places
]


@pytest.mark.parametrize("act, index", REWRITES)
def test_a_receipt_tells_which_entry_is_not_what_was_promised(operator: Operator, act: Act, index: int) -> None:
    """SPEC 14.2.1."""
    act(operator, index)
    note = operator.cover_up(time_s=AFTER // 1000 + 60)
    assert (index, "broken-promise") in found(audit(operator, note, receipts=(index,)))


@pytest.mark.parametrize("act, index", REWRITES)
def test_every_checkpoint_from_before_that_covers_it_tells(operator: Operator, act: Act, index: int) -> None:
    """SPEC 14.2.1."""
    act(operator, index)
    report = audit(operator, operator.cover_up(), tuple(operator.honest.checkpoints.values()))
    told = {(size - 1, "consistency") for size in CHECKPOINTS if index < size <= operator.size}
    told |= {(operator.size, "truncated")} if operator.size < ENTRIES else set()
    assert told <= set(found(report))
    assert not {(size - 1, "consistency") for size in CHECKPOINTS if size <= index} & set(found(report))


@pytest.mark.parametrize("act, index", [(swap, MIDDLE), (replace_with_another, LAST), (swap, LAST - 1)])
def test_nobody_else_could_tell(operator: Operator, act: Act, index: int) -> None:
    act(operator, index)
    assert found(audit(operator, operator.cover_up())) == []


@pytest.mark.parametrize("size", [LIFTING + 1, 1500, ENTRIES - 1])
def test_a_tail_that_is_gone_is_missed_by_who_holds_its_checkpoint_or_receipt(operator: Operator, size: int) -> None:
    operator.truncate(size)
    note = operator.cover_up(time_s=AFTER // 1000 + 60)
    assert found(audit(operator, note)) == []
    assert found(audit(operator, note, (operator.honest.checkpoints[ENTRIES],))) == [(size, "truncated")]
    assert found(audit(operator, note, receipts=(LAST,))) == [(LAST, "broken-promise")]


def test_a_receipt_that_is_only_ahead_of_the_checkpoint_breaks_nothing(operator: Operator) -> None:
    operator.truncate(1500)
    note = operator.cover_up()
    assert found(audit(operator, note, receipts=(1501,))) == []


def test_what_the_node_did_not_sign_accuses_nobody(operator: Operator) -> None:
    """Receipts that somebody made up, a checkpoint by another log's keys: told, and no finding. SPEC 14.2.1."""
    honest, (ours, theirs) = operator.honest, (signing_key("PK"), signing_key("CN"))
    other = replace(operator.entry(0), time=time_of(0) + 1).encode()
    made_up = replace(honest.receipts[0].head, size=1, root=leaf_hash(other))
    heads = [
        made_up,  # with the signature of another head
        replace(made_up, signature=theirs.sign(made_up.message(), 1)),
        replace(made_up, signature=None),
    ]
    elsewhere = replace(made_up, exchange=bytes(32))
    heads.append(replace(elsewhere, signature=ours.sign(elsewhere.message(), 1)))
    receipts = [replace(honest.receipts[0], time=time_of(0) + 1, path=(), entry=other, head=head) for head in heads]
    checkpoint = Checkpoint(ORIGIN, 1000, bytes(32))
    note = Note(checkpoint.text(), tuple(node_keys("CN").log.lines(checkpoint, AFTER // 1000))).encode()
    claims = Claims(honest.checkpoints[ENTRIES], (note,), tuple(receipts))
    source = fsck.Stored(operator.path)
    with closing(source.db), verifying() as verifiers:
        report = audit_ledger(ORIGIN, source, Terms(honest.world.pin, AFTER, claims), verifiers)
    assert report.findings == ()
    assert len([line for line in report.warnings if "proves nothing" in line]) == 1 + len(receipts)


def test_an_entry_dated_before_a_checkpoint_that_it_is_not_in_is_found(operator: Operator) -> None:
    root = audit(operator, operator.honest.checkpoints[ENTRIES]).ledgers[0].root
    renewed = signed_checkpoint(ENTRIES, root, time_of(ENTRIES) // 1000 + 3600)
    operator.append(bulletin(operator.honest.world, ENTRIES), time_of(ENTRIES))
    note = operator.cover_up(time_s=time_of(ENTRIES) // 1000 + 3601)
    assert found(audit(operator, note)) == []
    assert found(audit(operator, note, (renewed,))) == [(ENTRIES, "backdated")]


def test_an_entry_dated_after_the_checkpoint_that_it_is_in_is_found(operator: Operator) -> None:
    """Though by now that time has come."""
    operator.append(bulletin(operator.honest.world, ENTRIES), AFTER + 50_000)
    note = operator.cover_up(time_s=(AFTER - 20_000) // 1000)
    assert found(audit(operator, note)) == [(ENTRIES, "time-ahead")]


def test_two_checkpoints_of_one_size_are_found(operator: Operator) -> None:
    """SPEC 14.2.1."""
    replace_with_another(operator, LAST)
    report = audit(operator, operator.cover_up(), (operator.honest.checkpoints[ENTRIES],))
    assert found(report) == [(LAST, "consistency")]


# The log's own signatures and tiles


def lines_changed(note: str, change: Callable[[list[Any]], list[Any]]) -> str:
    parsed = Note.parse(note)
    return Note(parsed.text, tuple(change(list(parsed.lines)))).encode()


def flipped(line: Any) -> Any:
    return replace(line, signature=line.signature[:-1] + bytes([line.signature[-1] ^ 1]))


CHANGED_LINES: dict[str, Callable[[list[Any]], list[Any]]] = {
    "Ed25519 altered": lambda lines: [flipped(lines[0]), lines[1]],
    "ML-DSA altered": lambda lines: [lines[0], flipped(lines[1])],
    "Ed25519 left out": lambda lines: lines[1:],
    "ML-DSA left out": lambda lines: lines[:1],
}


@pytest.mark.parametrize("change", CHANGED_LINES.values(), ids=CHANGED_LINES.keys())
def test_both_lines_of_the_log_must_hold(operator: Operator, change: Callable[[list[Any]], list[Any]]) -> None:
    note = lines_changed(operator.cover_up(), change)
    assert found(audit(operator, note)) == [(None, "checkpoint")]
    operator.db.execute("UPDATE checkpoint SET note = ? WHERE size = ?", (note, ENTRIES))
    report = fsck.check(operator.path, ORIGIN, operator.honest.world.pin, AFTER)
    assert found(report) == [(ENTRIES - 1, "recorded-note")]


def test_a_root_that_is_not_that_of_the_entries_is_found(operator: Operator) -> None:
    """SPEC 14.2.1."""
    operator.cover_up()
    note = signed_checkpoint(ENTRIES, base64.b64decode("A" * 43 + "="), time_of(ENTRIES) // 1000)
    assert found(audit(operator, note)) == [(ENTRIES - 1, "root")]


def test_a_cosignature_that_does_not_hold_is_found(operator: Operator) -> None:
    note = Note.parse(operator.cover_up())
    line = node_keys("CN").cosigner.lines(Checkpoint.parse(note.text), AFTER // 1000)[0]
    forged = Note(note.text, (*note.lines, flipped(line))).encode()
    assert found(audit(operator, forged)) == [(None, "cosignature")]


def test_a_checkpoint_that_the_other_nation_has_not_cosigned_leaves_the_audit_incomplete(operator: Operator) -> None:
    cosigner = node_keys("CN").cosigner
    policy = Policy.parse(f"witness cn {cosigner.vkeys()[0].encode()}\nquorum cn\n")
    note = Note.parse(operator.honest.checkpoints[ENTRIES])
    lines = cosigner.lines(Checkpoint.parse(note.text), AFTER // 1000)
    alone, cosigned = note.encode(), Note(note.text, (*note.lines, *lines)).encode()
    assert audit(operator, alone, policy=policy).verdict == "incomplete"
    assert audit(operator, cosigned, policy=policy).verdict == "ok"


@pytest.mark.parametrize("level, index, first", [(0, 0, 0), (0, 3, 768), (0, 6, 1536)])
def test_a_tile_that_is_not_that_of_the_entries_is_found(
    operator: Operator, level: int, index: int, first: int
) -> None:
    note = operator.cover_up()
    operator.db.execute("UPDATE tile SET data = zeroblob(8192) WHERE level = ? AND idx = ?", (level, index))
    assert found(audit(operator, note)) == [(first, "tile")]
    assert (first, "tile") in found(fsck.check(operator.path, ORIGIN, operator.honest.world.pin, AFTER))


# What stands beside the entries, which only the node itself can look at

TABLES = {
    "bulletin": ("UPDATE bulletin SET digest = zeroblob(32) WHERE idx = 1003", (1003, "table-bulletin")),
    "bulletin gone": ("DELETE FROM bulletin WHERE idx = 7", (7, "table-bulletin")),
    "statement": ("DELETE FROM statement WHERE idx = 800", (800, "table-statement")),
    "delivery gone": ("DELETE FROM delivery WHERE idx = 1003", (1003, "table-delivery")),
    "delivery too many": ("INSERT INTO delivery VALUES ('cn-embassy', 1003)", (1003, "table-delivery")),
    "wrap": ("UPDATE body SET wraps = zeroblob(length(wraps)) WHERE idx = 1003", (1003, "table-wrap")),
    "wraps that outlive their body": ("UPDATE body SET data = NULL WHERE idx = 1003", (1003, "table-wrap")),
    "wrap gone": ("UPDATE body SET wraps = NULL WHERE idx = 1999", (1999, "table-wrap")),
    "body of another": ("UPDATE body SET sha256 = zeroblob(32) WHERE idx = 1003", (1003, "table-body")),
    "body that ends later": ("UPDATE body SET expires = expires + 1 WHERE idx = 7", (7, "table-body")),
    "head": ("UPDATE checkpoint SET head = x'90' WHERE size = 1500", (1499, "recorded-note")),
    "body gone": ("DELETE FROM body WHERE idx = 1003", (1003, "table-body")),
    "acknowledged": ("UPDATE acknowledged SET state = 'acted' WHERE target = 1009", (1009, "table-acknowledged")),
    "acknowledged gone": ("DELETE FROM acknowledged WHERE target = 1009", (1009, "table-acknowledged")),
    "tile gone": ("DELETE FROM tile WHERE idx = 3", (3, "table-tile")),
    "tile root": ("UPDATE tile SET root = zeroblob(32) WHERE idx = 3", (768, "tile")),
    "leaf": ("UPDATE entry SET leaf = zeroblob(32) WHERE idx = 1003", (1003, "leaf")),
    "kind": ("UPDATE entry SET kind = 2 WHERE idx = 1003", (1003, "entry-kind")),
    "entry gone": ("DELETE FROM entry WHERE idx = 1003", (1003, "entry-missing")),
    "recorded root": ("UPDATE checkpoint SET root = zeroblob(32) WHERE size = 1500", (1499, "recorded-root")),
    "note": ("UPDATE checkpoint SET note = 'nothing' WHERE size = 1500", (1499, "recorded-note")),
}


@pytest.mark.parametrize("sql, expected", TABLES.values(), ids=TABLES.keys())
def test_fsck_finds_what_does_not_agree_with_the_entries(
    operator: Operator, sql: str, expected: tuple[int, str]
) -> None:
    assert operator.db.execute(sql).rowcount > 0
    operator.db.execute("COMMIT")
    assert expected in found(fsck.check(operator.path, ORIGIN, operator.honest.world.pin, AFTER))


def test_a_body_that_is_gone_too_early_is_missed(operator: Operator) -> None:
    """Until its retention is over, which begins when the bulletin expires."""
    operator.db.execute("UPDATE body SET data = NULL, wraps = NULL WHERE idx = ?", (MIDDLE,))
    published = operator.cover_up()
    header = Bulletin.decode(operator.entry(MIDDLE).statement).header
    ends = header.expires + DirectoryPolicy().retention_days * DAY_MS
    gone = f"{ORIGIN}: 1 bodies are not there, and should be kept still"
    assert gone in audit(operator, published, now=ends - 1).warnings
    assert gone not in audit(operator, published, now=ends).warnings
