"""clients/replica.py: what a reader must find before it believes a page, and what it calls tampering."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from broker.ledger import Ledger
from clients.errors import Tampering
from clients.replica import Replica
from clients.state import Verified
from keys.lognote import LogSigner
from keys.signing import SigningKey
from protocol import merkle
from protocol.checkpoint import Checkpoint
from protocol.entry import Entry, Link, Submission
from protocol.note import Note
from protocol.page import Consistency, Item, Part
from protocol.statements import LINKED, Kind
from protocol.treehead import TreeHead
from tests.support import trees
from tests.support.altering import replace
from tests.support.world import NOW, ORIGINS, World, admit, label, node_keys, open_ledger, signing_key

ORIGIN = ORIGINS["PK"]
NODE, OTHER = signing_key("PK"), signing_key("CN")


class Empty:
    """A home that holds nothing yet."""

    def verified(self, origin: str) -> Verified:
        return Verified(origin)

    def governance(self, origin: str) -> list[tuple[int, bytes]]:
        return []

    def governance_body(self, origin: str, sha256: bytes) -> None:
        return None

    def bulletins(self, *_: object) -> list[Any]:
        return []

    def bulletin_at(self, origin: str, index: int) -> None:
        return None


class Pages:
    """A ledger, and the pages that its node would give of it."""

    def __init__(self, folder: Path) -> None:
        self.world = World.found()
        self.ledger: Ledger = open_ledger(folder, self.world)

    def part(self, known: int = 0, signer: LogSigner | None = None) -> Part:
        """From index ``known``, with a checkpoint over all."""
        head, tree = self.ledger.head, self.ledger.tree
        entries = self.ledger.storage.entry_bytes(known, head.size)
        items = tuple(
            Item(at, data, tree.inclusion(at, head.size), None, self.ledger.storage.body(at))
            for at, data in enumerate(entries, known)
        )
        joints = (Consistency(known, head.size, tree.consistency(known, head.size)),) if 0 < known < head.size else ()
        return Part(head, items, self.note(head, signer), joints, head.size)

    def note(self, head: TreeHead, signer: LogSigner | None = None) -> str:
        """The checkpoint of a head."""
        checkpoint = Checkpoint(ORIGIN, head.size, head.root)
        lines = (signer or node_keys("PK").log).lines(checkpoint, NOW // 1000)
        return Note(checkpoint.text(), tuple(lines)).encode()


@pytest.fixture
def pages(tmp_path: Path) -> Pages:
    return Pages(tmp_path)


@pytest.fixture
def replica(pages: Pages) -> Replica:
    """That has taken the first page, and knows the ledger's beginning."""
    made = Replica(Empty(), ORIGIN, pages.world.pin)  # type: ignore[arg-type]
    made.take(pages.part())
    return made


def _head(part: Part, signer: SigningKey | None = None, **changes: Any) -> Part:
    head = replace(part.head, **changes)
    if signer is not None:
        head = replace(head, signature=signer.sign(head.message(), 1))
    return replace(part, head=head)


def _item(part: Part, **changes: Any) -> Part:
    return replace(part, items=(*part.items[:-1], replace(part.items[-1], **changes)))


def _forged(pages: Pages, *forged: Submission | bytes) -> Part:
    """What a node shows that entered these whatever its judge would have said, and signed the tree."""
    known = pages.ledger.head.size
    honest, link, entries = pages.ledger.storage.entry_bytes(0, known), Link(Kind.DIRECTORY, 0), []
    for at, one in enumerate(forged, known):
        if isinstance(one, bytes):
            entries.append(one)
            continue
        entries.append(Entry(one.kind, one.statement, one.signatures, NOW, link).encode())
        link = Link(one.kind, at) if one.kind in LINKED else link
    size, nodes = known + len(forged), trees.memory([merkle.leaf_hash(data) for data in (*honest, *entries)])
    bodies = [one.body if isinstance(one, Submission) and one.kind is Kind.DIRECTORY else None for one in forged]
    items = tuple(
        Item(at, data, tuple(merkle.inclusion_path(at, size, nodes)), None, body)
        for at, (data, body) in enumerate(zip(entries, bodies, strict=True), known)
    )
    head = TreeHead(pages.world.pin, ORIGIN, size, merkle.root(size, nodes), NOW)
    head = replace(head, signature=NODE.sign(head.message(), 1))
    joint = Consistency(known, size, tuple(merkle.consistency_path(known, size, nodes)))
    return Part(head, items, pages.note(head), (joint,), size)


REFUSED: dict[str, Callable[[World], Submission]] = {
    "threshold-missing": lambda w: w.with_directory(issued=NOW).publication("pk-custodian-1", "pk-custodian-2"),
    "wrong-signer": lambda w: w.revocation("cn-liaison/desk", by=("pk-liaison/identity",)),
    "bundle-chain": lambda w: w.with_bundle("cn-liaison").with_bundle("cn-liaison").key_bundle("cn-liaison"),
    "sender-not-cleared": lambda w: w.bulletin("pk-site-security", label=label("Confidential")),
}


@pytest.mark.parametrize("code", REFUSED)
def test_what_the_judge_refuses_is_kept_without_effect_and_stops_nothing(
    code: str, pages: Pages, replica: Replica
) -> None:
    """Though the node has entered it; and what comes behind it is believed. SPEC 11.3.2, 12.2.12."""
    before = replica.exchange
    refused, good = replica.take(_forged(pages, REFUSED[code](pages.world), pages.world.bulletin()))
    assert [fault.check for fault in refused.step.faults] == [code]
    assert (refused.step.accepted, good.step.faults, replica.exchange) == (None, (), before)


def test_what_is_no_entry_is_tampering(pages: Pages, replica: Replica) -> None:
    """No honest node enters it, and no reader knows what it hides. SPEC 11.3.2."""
    with pytest.raises(Tampering) as caught:
        replica.take(_forged(pages, b"rubbish"))
    assert caught.value.check == "entry-form"


def test_a_page_that_holds_is_believed(pages: Pages, replica: Replica) -> None:
    """From the first contact, where the pinned directory itself says who may sign. SPEC 11.3.1."""
    admit(pages.ledger, pages.world.bulletin())
    known = replica.verified.size
    (believed,) = replica.take(pages.part(known))
    assert (believed.item.index, believed.step.faults) == (known, ())
    assert replica.verified.size == replica.verified.next == known + 1


def test_a_home_that_was_closed_still_knows_the_last_time(pages: Pages, replica: Replica) -> None:
    """An entry that is earlier than the last bulletin breaks the order of time, after a restart too. SPEC 12.4.1."""
    admit(pages.ledger, pages.world.bulletin(), NOW + 3_600_000)
    replica.take(pages.part(replica.verified.size))

    class Kept(Empty):
        def verified(self, origin: str) -> Verified:
            return replica.verified

        def governance(self, origin: str) -> list[tuple[int, bytes]]:
            return list(pages.ledger.storage.governance())

        def governance_body(self, origin: str, sha256: bytes) -> Any:
            return pages.ledger.storage.directory(sha256)

    reopened = Replica(Kept(), ORIGIN, pages.world.pin)  # type: ignore[arg-type]
    pages.ledger.time = NOW  # a node that forgets its own time
    admit(pages.ledger, pages.world.bulletin(), NOW)
    (believed,) = reopened.take(pages.part(reopened.verified.size))
    assert [fault.check for fault in believed.step.faults] == ["time-order"]


def test_a_directory_whose_json_is_withheld_is_no_page(pages: Pages, replica: Replica) -> None:
    """Else a node could keep a reader under the version before. SPEC 11.3.1."""
    admit(pages.ledger, pages.world.with_directory().publication())
    part = pages.part(replica.verified.size)
    with pytest.raises(Tampering) as raised:
        replica.take(replace(part, items=(replace(part.items[0], body=None),)))
    assert raised.value.check == "directory-missing"


def test_delivery_waits_for_no_checkpoint_and_no_cosignature(pages: Pages, replica: Replica) -> None:
    """A page without one is believed as well. SPEC 11.3.3."""
    admit(pages.ledger, pages.world.bulletin())
    assert len(replica.take(replace(pages.part(replica.verified.size), checkpoint=""))) == 1


BROKEN: dict[str, tuple[str, Callable[[Pages, Part], Part]]] = {
    "1 another's signature": ("tree-head", lambda _, part: _head(part, OTHER)),
    "1 no signature over it": ("tree-head", lambda _, part: _head(part, time=part.head.time + 1)),
    "1 another exchange": ("tree-head", lambda _, part: _head(part, NODE, exchange=bytes(32))),
    "1 another origin": ("tree-head", lambda _, part: _head(part, NODE, origin=ORIGINS["CN"])),
    "2 a root of another history": ("consistency", lambda _, part: _head(part, NODE, root=bytes(32))),
    "2 a smaller tree": ("consistency", lambda _, part: _head(part, NODE, size=3)),
    "2 no proof": ("consistency", lambda _, part: replace(part, consistencies=())),
    "2 proof of other sizes": (
        "consistency",
        lambda _, part: replace(part, consistencies=(replace(part.consistencies[0], old=1),)),
    ),
    "2 a path that does not lead there": (
        "consistency",
        lambda _, part: replace(part, consistencies=(replace(part.consistencies[0], path=(bytes(32),)),)),
    ),
    "2 a checkpoint of two trees": (
        "consistency",
        lambda pages, part: replace(part, checkpoint=pages.note(replace(part.head, root=bytes(32)))),
    ),
    "a checkpoint that another signed": ("checkpoint", lambda pages, part: pages.part(7, node_keys("CN").log)),
    "3 another entry": ("inclusion", lambda _, part: _item(part, entry=part.items[0].entry)),
    "3 another index": ("inclusion", lambda _, part: _item(part, index=part.items[-1].index - 1)),
    "3 another path": ("inclusion", lambda _, part: _item(part, path=())),
    "an entry again": ("cursor", lambda pages, part: replace(part, items=(pages.part(6).items[0], *part.items))),
    "cursor ahead": ("cursor", lambda _, part: replace(part, next=part.head.size + 1)),
    "cursor back": ("cursor", lambda _, part: replace(part, next=1)),
}


@pytest.mark.parametrize("how", BROKEN)
def test_what_does_not_hold_is_tampering_and_nothing_of_it_is_kept(how: str, pages: Pages, replica: Replica) -> None:
    """By the name of its check; the page as it should be is still taken afterwards. SPEC 11.3.1, 11.3.2."""
    for _ in range(2):
        admit(pages.ledger, pages.world.bulletin())
    before, part = replica.verified, pages.part(7)
    assert before.size == 7
    check, spoil = BROKEN[how]
    with pytest.raises(Tampering) as caught:
        replica.take(spoil(pages, part))
    assert caught.value.check == check
    assert replica.verified == before
    again = Replica(Empty(), ORIGIN, pages.world.pin)  # type: ignore[arg-type]
    again.take(pages.part())
    assert again.verified.size == 9


def test_4_governance_that_is_kept_back_shows_at_the_next_link(pages: Pages, replica: Replica) -> None:
    """A revocation that a node hides from one reader. SPEC 11.3.1, 11.3.2, 12.4.2."""
    admit(pages.ledger, pages.world.revocation("cn-embassy/desk"))
    admit(pages.ledger, pages.world.bulletin())
    part = pages.part(replica.verified.size)
    with pytest.raises(Tampering) as caught:
        replica.take(replace(part, items=part.items[1:]))
    assert caught.value.check == "governance-link"


@pytest.mark.parametrize("how", [how for how in BROKEN if how.startswith(("1 ", "a checkpoint"))])
def test_on_first_contact_the_page_s_own_directory_says_who_may_sign(how: str, pages: Pages) -> None:
    """Nothing is known yet, and nothing of it is kept. SPEC 11.3.1, 11.3.2."""
    new = Replica(Empty(), ORIGIN, pages.world.pin)  # type: ignore[arg-type]
    check, spoil = BROKEN[how]
    part = pages.part()
    with pytest.raises(Tampering) as caught:
        new.take(
            replace(part, checkpoint=pages.part(7, node_keys("CN").log).checkpoint)
            if check == "checkpoint"
            else spoil(pages, part)
        )
    assert caught.value.check == check
    assert new.verified.size == 0


def test_a_head_that_is_not_the_node_s_is_no_promise_and_joins_nothing(pages: Pages, replica: Replica) -> None:
    """As in a receipt, and in the page that is to show that a receipt's tree is one history with ours."""
    admit(pages.ledger, pages.world.bulletin())
    part = pages.part(replica.verified.size)
    forged = _head(part, OTHER)
    with pytest.raises(Tampering, match="tree-head"):
        replica.check_signed(forged.head)
    with pytest.raises(Tampering, match="tree-head"):
        replica.extends(pages.ledger.head, forged)
    replica.check_signed(part.head)


def test_a_first_page_begins_with_the_pinned_directory(pages: Pages) -> None:
    """Another exchange, however well signed, is not this one. SPEC 11.3.1."""
    stranger = Replica(Empty(), ORIGIN, bytes(32))  # type: ignore[arg-type]
    with pytest.raises(Tampering):
        stranger.take(pages.part())


def test_5_a_signature_that_does_not_hold_is_tampering(pages: Pages, replica: Replica) -> None:
    """Though the node has entered it. SPEC 11.3.1, 11.3.2."""
    first, second = pages.world.bulletin(), pages.world.bulletin()
    staged = pages.ledger.stage(replace(first, signatures=second.signatures), NOW)
    built = pages.ledger.build([staged])  # without verifying what is owed
    pages.ledger.commit(built)
    pages.ledger.promise(built)
    with pytest.raises(Tampering) as caught:
        replica.take(pages.part(replica.verified.size))
    assert caught.value.check == "bad-signature"
