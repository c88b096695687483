"""The witness: every status and body of C2SP tlog-witness, over a real store, and never two histories of one log."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from broker.witness import store, witness
from broker.witness.store import WitnessStore, digest_of
from broker.witness.witness import Answer, Witness, holds_nothing_to_compare
from keys.lognote import CosignerKeys, open_checkpoint
from protocol import limits, merkle
from protocol.addcheckpoint import SIZE_MEDIA_TYPE, AddCheckpoint, decode_lines
from protocol.checkpoint import Checkpoint, split_timestamped
from protocol.merkle import EMPTY_ROOT
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, Note, SignatureLine
from tests.support.altering import replace
from tests.support.door import until
from tests.support.submitting import TIME_S, KnownLogs, SubmittingLog, cosigner_keys, log_signer

ORIGIN = "pk.example/ledger"
LOG = SubmittingLog.of(log_signer(ORIGIN))
KEYS = cosigner_keys("w.example/one")
Make = Callable[..., Witness]


class Clock:
    """What the witness takes for now."""

    def __init__(self) -> None:
        self.now_s = TIME_S

    def __call__(self) -> int:
        return self.now_s


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """A witness over the one store of a test; made again it is one that was started again."""
    path, made = tmp_path / "witness.db", []
    store.create(path)

    def make(logs: KnownLogs | None = None, clock: Callable[[], int] = lambda: TIME_S) -> Witness:
        known = logs or KnownLogs(LOG.signer)
        made.append(Witness(KEYS, WitnessStore(path), known, holds_nothing_to_compare, clock))
        return made[-1]

    yield make
    for each in made:
        each.close()


async def cosigned(subject: Witness, log: SubmittingLog, old: int, size: int) -> tuple[SignatureLine, ...]:
    """The lines of a checkpoint that must be cosigned; each verified."""
    answer = await subject.add_checkpoint(log.request(old, size))
    assert answer.status == 200, answer.body
    lines = decode_lines(answer.body)
    opened = open_checkpoint(log.note(size, *lines).encode(), log.signer.vkeys(), KEYS.vkeys())
    assert [one.type for one in opened.cosigned] == [COSIGNATURE_ED25519, COSIGNATURE_MLDSA44]
    assert len(lines) == 2
    return lines


def times_of(lines: tuple[SignatureLine, ...]) -> set[int]:
    return {split_timestamped(line.signature)[0] for line in lines}


async def status(subject: Witness, body: bytes) -> int:
    return (await subject.add_checkpoint(body)).status


def conflict(size: int) -> Answer:
    return Answer(409, f"{size}\n".encode(), SIZE_MEDIA_TYPE)


async def test_a_history_is_cosigned_step_by_step(make: Make) -> None:
    """From nothing, to the same, to more: the sequence of C2SP tlog-witness. SPEC 9.7.2, 9.7.5."""
    subject = make()
    assert subject.store.note(digest_of(ORIGIN)) is None
    for old, size in ((0, 1), (1, 1), (1, 7), (7, 8), (8, 33), (33, 33)):
        lines = await cosigned(subject, LOG, old, size)
        note = subject.store.note(digest_of(ORIGIN))
        assert note is not None
        assert Note.parse(note).lines[2:] == lines
        assert open_checkpoint(note, LOG.signer.vkeys(), KEYS.vkeys()).checkpoint == LOG.checkpoint(size)
    assert subject.answers == {200: 6}


async def test_a_log_that_has_forgotten_learns_the_size(make: Make) -> None:
    """409 with the size as text/x.tlog.size; asked from there it is cosigned. SPEC 9.7.2."""
    subject = make()
    assert await subject.add_checkpoint(LOG.request(3, 9)) == conflict(0)
    await cosigned(subject, LOG, 0, 9)
    for old in (0, 3, 8, 10, 20):
        assert await subject.add_checkpoint(LOG.request(old, 20)) == conflict(9), old
    await cosigned(subject, LOG, 9, 20)
    assert await subject.add_checkpoint(LOG.request(9, 20)) == conflict(20)
    await cosigned(subject, LOG, 20, 20)


async def test_it_never_goes_back(make: Make) -> None:
    """A smaller tree of the same history is a conflict, whatever old size it names. SPEC 9.7.3."""
    subject = make()
    await cosigned(subject, LOG, 0, 20)
    for old, size in ((0, 9), (9, 9), (5, 9), (9, 19)):
        assert await subject.add_checkpoint(LOG.request(old, size)) == conflict(20)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"junk",
        b"\xff" * 100,
        LOG.request(0, 9).replace(b"old 0", b"old 10"),  # above the checkpoint's size
        LOG.request(0, 9).replace(b"old 0\n", b"old 0\n" + b"A" * 43 + b"=\n" * 64),
        LOG.request(0, 9) + b"\n",
        b"x" * (limits.ADD_CHECKPOINT_BYTES_MAX + 1),
    ],
    ids=["empty", "junk", "no text", "old above size", "64 hashes", "a line more", "too long"],
)
async def test_400(make: Make, body: bytes) -> None:
    """Another form than the one. SPEC 9.7.2."""
    subject = make()
    assert await status(subject, body) == 400
    assert subject.store.all() == []


async def test_404(make: Make) -> None:
    """A log that is not known, also where its signature is good; and one that is known no more. SPEC 9.7.2."""
    known = KnownLogs(LOG.signer)
    subject = make(known)
    stranger = SubmittingLog.of(log_signer("xx.example/ledger"))
    assert await status(subject, stranger.request(0, 9)) == 404
    await cosigned(subject, LOG, 0, 9)
    known.keys.clear()
    assert await status(subject, LOG.request(9, 20)) == 404
    known.keys[ORIGIN] = tuple(LOG.signer.vkeys())
    assert await subject.add_checkpoint(LOG.request(0, 20)) == conflict(9)  # what was cosigned is not forgotten


def _with_lines(*lines: SignatureLine) -> bytes:
    checkpoint = LOG.checkpoint(9)
    return AddCheckpoint(0, (), Note(checkpoint.text(), lines)).encode()


async def test_403(make: Make) -> None:
    """No line of a known key, one that fails, or two of one key. SPEC 9.7.2."""
    subject = make()
    ed25519, mldsa44 = LOG.signer.lines(LOG.checkpoint(9), TIME_S)
    of_another_size, _ = LOG.signer.lines(LOG.checkpoint(8), TIME_S)
    stranger, _ = log_signer("xx.example/ledger").lines(LOG.checkpoint(9), TIME_S)
    broken = replace(mldsa44, signature=mldsa44.signature[:-1] + bytes([mldsa44.signature[-1] ^ 1]))
    for lines in (
        (stranger,),
        (replace(stranger, name=ORIGIN),),  # its key under the log's name
        (of_another_size, mldsa44),
        (ed25519, broken),
        (broken, ed25519, mldsa44),
        (ed25519, ed25519, mldsa44),
        (ed25519,),  # a peer signs with both keys
        (mldsa44,),
    ):
        assert await status(subject, _with_lines(*lines)) == 403
    assert subject.store.all() == []
    assert await status(subject, _with_lines(stranger, mldsa44, ed25519)) == 200  # whatever else is there


async def test_403_of_a_witness_that_takes_one_key(make: Make) -> None:
    """One of a third party takes the line of any key that its policy lists; none may fail. SPEC 9.7.2."""
    subject = make(KnownLogs(LOG.signer, every_key=False))
    ed25519, mldsa44 = LOG.signer.lines(LOG.checkpoint(9), TIME_S)
    broken = replace(mldsa44, signature=mldsa44.signature[:-1] + bytes([mldsa44.signature[-1] ^ 1]))
    unknown = replace(ed25519, key_id=b"\0\0\0\0")
    assert await status(subject, _with_lines(unknown)) == 403
    assert await status(subject, _with_lines(ed25519, broken)) == 403
    assert await status(subject, _with_lines(ed25519, unknown)) == 200
    assert await status(subject, AddCheckpoint(9, (), Note(LOG.checkpoint(9).text(), (mldsa44,))).encode()) == 200


async def test_422(make: Make) -> None:
    """What does not extend, or brings a proof where there is nothing to prove. SPEC 9.7.2."""
    subject = make()
    empty = AddCheckpoint(0, (), SubmittingLog.of(LOG.signer).note(0))
    other_empty = Checkpoint(ORIGIN, 0, b"\1" * 32)
    signed = Note(other_empty.text(), tuple(LOG.signer.lines(other_empty, TIME_S)))
    some = (b"\1" * 32,)
    assert await status(subject, replace(empty, note=signed).encode()) == 422
    assert await status(subject, replace(empty, path=some).encode()) == 422
    assert await status(subject, AddCheckpoint(0, some, LOG.note(9)).encode()) == 422
    assert subject.store.all() == []
    assert await status(subject, empty.encode()) == 200
    await cosigned(subject, LOG, 0, 9)
    proof = LOG.proof(9, 20)
    fork = LOG.forked(8)
    for body in (
        AddCheckpoint(9, (), LOG.note(20)),
        AddCheckpoint(9, proof[:-1], LOG.note(20)),
        AddCheckpoint(9, (*proof, *some), LOG.note(20)),
        AddCheckpoint(9, (*proof[:-1], *some), LOG.note(20)),
        AddCheckpoint(9, some, LOG.note(9)),
        AddCheckpoint(9, (), fork.note(9)),  # two roots of one size
        AddCheckpoint(9, fork.proof(9, 20), fork.note(20)),
        AddCheckpoint(9, proof, fork.note(20)),
    ):
        assert await status(subject, body.encode()) == 422
    await cosigned(subject, LOG, 9, 20)


async def test_what_is_disputed_is_handed_on(make: Make) -> None:
    """Only what the log has signed, with the note that it contradicts; a wrong proof too, for others to judge."""
    subject, disputes = make(), list[tuple[str, int]]()
    subject.disputed = lambda kept, request: disputes.append((kept.note, request.checkpoint.size))
    await cosigned(subject, LOG, 0, 9)
    note = subject.store.note(digest_of(ORIGIN))
    fork = LOG.forked(8)
    await subject.add_checkpoint(LOG.request(0, 20))
    await subject.add_checkpoint(b"junk")
    unsigned = Note(fork.checkpoint(9).text(), (SignatureLine(ORIGIN, b"\0" * 4, b"\0" * 64),))
    await subject.add_checkpoint(AddCheckpoint(9, (), unsigned).encode())
    assert disputes == []
    await subject.add_checkpoint(fork.request(9, 9))
    await subject.add_checkpoint(fork.request(0, 9))  # its old size is wrong as well
    await subject.add_checkpoint(fork.request(9, 20))
    assert disputes == [(note, 9), (note, 9), (note, 20)]


async def test_the_time_is_never_zero_and_never_goes_back(make: Make) -> None:
    """A cosignature without a time claims nothing, and the past was claimed for others. SPEC 9.7.4."""
    clock = Clock()
    clock.now_s = 0
    subject = make(clock=clock)
    assert times_of(await cosigned(subject, LOG, 0, 1)) == {1}
    for now_s, signed_s in ((TIME_S, TIME_S), (TIME_S - 500, TIME_S), (TIME_S + 1, TIME_S + 1)):
        clock.now_s = now_s
        assert times_of(await cosigned(subject, LOG, 1, 1)) == {signed_s}
    clock.now_s = 7
    assert times_of(await cosigned(make(clock=clock), LOG, 1, 2)) == {TIME_S + 1}


async def test_the_same_checkpoint_is_cosigned_again(make: Make) -> None:
    """With a fresh time. SPEC 9.7.4."""
    clock = Clock()
    subject = make(clock=clock)
    first = await cosigned(subject, LOG, 0, 9)
    clock.now_s += 60
    again = await cosigned(subject, LOG, 9, 9)
    assert (times_of(first), times_of(again)) == ({TIME_S}, {TIME_S + 60})


async def test_repeats_within_a_second_cost_no_signature_and_no_write(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody can send what a log has signed, as often as he likes. SPEC 9.7.4, 9.7.6."""
    clock = Clock()
    subject = make(clock=clock)
    first = await cosigned(subject, LOG, 0, 9)
    with monkeypatch.context() as patched:
        patched.setattr(WitnessStore, "advance", None)
        patched.setattr(CosignerKeys, "lines", None)
        for _ in range(5):
            assert await cosigned(subject, LOG, 9, 9) == first
    clock.now_s += 1
    assert await cosigned(subject, LOG, 9, 9) != first


async def test_other_keys_over_the_same_store_sign_for_themselves(make: Make) -> None:
    """As after the node was given new ones: what the old ones said is not what these say. SPEC 9.7.3."""
    subject = make()
    await cosigned(subject, LOG, 0, 9)
    renewed = cosigner_keys("w.example/renewed")
    subject._keys = renewed
    answer = await subject.add_checkpoint(LOG.request(9, 9))
    names = {line.name for line in decode_lines(answer.body)}
    assert (answer.status, names) == (200, {renewed.name})


async def test_logs_do_not_know_of_each_other(make: Make) -> None:
    """Each has a row of its own. SPEC 9.7.3."""
    other = SubmittingLog.of(log_signer("cn.example/ledger")).forked(0, b"other")
    subject = make(KnownLogs(LOG.signer, other.signer))
    await cosigned(subject, LOG, 0, 9)
    await cosigned(subject, other, 0, 5)
    assert [(kept.origin, kept.size) for kept in subject.store.all()] == [("cn.example/ledger", 5), (ORIGIN, 9)]


async def test_of_two_histories_at_once_one_is_cosigned(make: Make) -> None:
    """Whatever their order, and however many: the other finds the size of the first. SPEC 9.7.3."""
    subject = make()
    await cosigned(subject, LOG, 0, 9)
    forks = [LOG, *(LOG.forked(9, f"fork {number} ".encode()) for number in range(15))]
    answers = await asyncio.gather(*(subject.add_checkpoint(fork.request(9, 20)) for fork in forks))
    assert sorted(answer.status for answer in answers) == [200] + [409] * 15
    assert {answer.body for answer in answers if answer.status == 409} == {b"20\n"}
    (kept,) = subject.store.all()
    won = forks[[answer.status for answer in answers].index(200)]
    assert kept.root == won.checkpoint(20).root


async def test_two_witnesses_over_one_store_are_one(make: Make) -> None:
    """A second process with the same file and keys is stopped by the file. SPEC 9.7.3."""
    one, two = make(), make()
    await cosigned(one, LOG, 0, 9)
    for turn in range(10):
        size = 10 + turn
        forks = (LOG, LOG.forked(size - 1, b"%d" % turn))
        answers = await asyncio.gather(
            one.add_checkpoint(forks[turn % 2].request(size - 1, size)),
            two.add_checkpoint(forks[1 - turn % 2].request(size - 1, size)),
        )
        (kept,) = one.store.all()
        good = [answer for answer in answers if answer.status == 200]
        assert len(good) <= 1
        if kept.root != LOG.checkpoint(size).root:
            return  # the fork won, and what follows here extends the other one


async def test_started_again_it_remembers(make: Make) -> None:
    """SPEC 9.7.3."""
    await cosigned(make(), LOG, 0, 9)
    again = make()
    assert await status(again, LOG.forked(8).request(9, 20)) == 422
    await cosigned(again, LOG, 9, 20)


# A node: what the mirror has derived


class Mirror:
    """Tells the root when a test lets it."""

    def __init__(self) -> None:
        self.asked = 0
        self.told: asyncio.Future[bytes | None] = asyncio.get_running_loop().create_future()

    async def holds(self, checkpoint: Checkpoint) -> bytes | None:
        self.asked += 1
        return await self.told


async def test_a_tree_that_the_mirror_does_not_have_is_not_cosigned(make: Make) -> None:
    """503 while it is not there; 422 where it derives another; nothing is kept of either. SPEC 9.7.2."""
    for derived, expected in ((None, 503), (b"\1" * 32, 422)):
        subject, mirror = make(), Mirror()
        subject.holds = mirror.holds
        mirror.told.set_result(derived)
        assert await status(subject, LOG.request(0, 9)) == expected
        assert subject.store.all() == []


async def test_what_is_cosigned_while_the_mirror_is_waited_for_counts(make: Make) -> None:
    """Judged before the wait, and again after it: two that waited together are not both cosigned. SPEC 9.7.3."""
    subject, mirror = make(), Mirror()
    await cosigned(subject, LOG, 0, 9)
    subject.holds = mirror.holds
    waiting = asyncio.create_task(subject.add_checkpoint(LOG.request(9, 20)))
    await until(lambda: mirror.asked == 1)
    subject.holds = holds_nothing_to_compare
    fork = LOG.forked(9)
    await cosigned(subject, fork, 9, 12)
    mirror.told.set_result(LOG.checkpoint(20).root)
    assert await waiting == conflict(12)
    (kept,) = subject.store.all()
    assert kept.root == fork.checkpoint(12).root


async def test_who_waits_holds_up_no_other_log(make: Make) -> None:
    """A log has its own places, and when they are taken it is told so. SPEC 9.7.6."""
    other = SubmittingLog.of(log_signer("cn.example/ledger"))
    subject, mirror = make(KnownLogs(LOG.signer, other.signer)), Mirror()
    subject.holds = mirror.holds
    waiting = [asyncio.create_task(subject.add_checkpoint(LOG.request(0, 9))) for _ in range(witness.WAITING_MAX)]
    await until(lambda: mirror.asked == witness.WAITING_MAX)
    assert await status(subject, LOG.request(0, 9)) == 429
    subject.holds = holds_nothing_to_compare
    await cosigned(subject, other, 0, 9)
    mirror.told.set_result(None)
    assert {answer.status for answer in await asyncio.gather(*waiting)} == {503}
    await cosigned(subject, LOG, 0, 9)


async def test_what_strangers_send_is_not_kept(make: Make) -> None:
    """Junk lines under a checkpoint that a log has signed go nowhere; junk of unknown logs neither. SPEC 9.7.6."""
    subject = make()
    junk = tuple(SignatureLine(f"xx.example/{number}", b"junk", b"\0" * 4_000) for number in range(10))
    assert await status(subject, AddCheckpoint(0, (), LOG.note(9, *junk)).encode()) == 200
    note = subject.store.note(digest_of(ORIGIN))
    assert note is not None
    assert "xx.example" not in note
    assert len(Note.parse(note).lines) == 4
    stranger = SubmittingLog.of(log_signer("xx.example/ledger"))
    for size in range(1, 20):
        await subject.add_checkpoint(stranger.request(0, size))
    assert len(subject.store.all()) == 1


def test_the_root_of_nothing_is_the_start() -> None:
    """What was never cosigned is the empty tree, which everything extends. SPEC 9.7.2."""
    merkle.verify_consistency(0, 9, (), store.Kept(ORIGIN).root, LOG.checkpoint(9).root)
    assert store.Kept(ORIGIN).root == EMPTY_ROOT
