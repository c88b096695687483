"""What a witness of ours signs is read and verified by tlog-scales: types 1, 4 and 6."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from tlog_scales import tlog
from tlog_scales.backend import HttpBackend
from tlog_scales.reader import TilesReader
from tlog_scales.signing import MLDSA44CosignatureSigner, PlainEd25519Signer, Vkey, VkeySet

from broker.witness.store import digest_of
from broker.witness.witness import holds_nothing_to_compare
from protocol.note import COSIGNATURE_ED25519, COSIGNATURE_MLDSA44, ED25519
from tests.support.caller import Caller
from tests.support.live import live_node, world_of_today
from tests.support.submitting import SubmittingLog
from tests.support.world import ORIGINS, node_keys, seed

CN = SubmittingLog.of(node_keys("CN").log)


async def test_tlog_scales_reads_the_cosigned_note_and_the_monitoring_get(tmp_path: Path) -> None:
    """As it came from add-checkpoint, and as a monitor fetches it, by its own HTTP. SPEC 9.7.2, 9.7.5."""
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        assert node.witness is not None
        node.witness.holds = holds_nothing_to_compare
        answer = await caller.ask("POST", "/add-checkpoint", CN.request(0, 9))
        backend = HttpBackend(f"{node.config.url}/mirror/{digest_of(ORIGINS['CN']).hex()}")
        fetched = await asyncio.to_thread(TilesReader(backend).get_checkpoint)
    keys = [*CN.signer.vkeys(), *node_keys("PK").cosigner.vkeys()]
    vkeys = [Vkey.from_string(key.encode()) for key in keys]
    assert sorted(vkey.sig_type for vkey in vkeys) == [ED25519, COSIGNATURE_ED25519, *[COSIGNATURE_MLDSA44] * 2]
    joined = tlog.Checkpoint.from_text(CN.note(9).encode() + answer.data.decode())
    for checkpoint in (joined, fetched):
        assert (checkpoint.origin, checkpoint.size) == (ORIGINS["CN"], 9)
        assert checkpoint.root_hash == CN.checkpoint(9).root
        for vkey in vkeys:
            checkpoint.verify(vkey)
        assert len(VkeySet(*vkeys).verify(checkpoint.signatures, checkpoint)) == len(vkeys)
    other = tlog.Checkpoint.from_text(joined.serialize().replace("\n9\n", "\n10\n"))
    for vkey in vkeys:
        with pytest.raises(InvalidSignature):
            other.verify(vkey)


async def test_a_log_of_tlog_scales_is_cosigned(tmp_path: Path) -> None:
    """Its checkpoint as it signs it, by the peer's keys: a request that no code of ours has made. SPEC 9.7.1."""
    origin, root = ORIGINS["CN"], CN.checkpoint(9).root
    signers = [
        PlainEd25519Signer(origin, seed("CN/log/ed25519", 32).reveal()),
        MLDSA44CosignatureSigner(origin, seed("CN/log/mldsa44", 32).reveal()),
    ]
    signed = tlog.Checkpoint.make_signed(origin, 9, root, signers)  # type: ignore[arg-type]
    world = world_of_today()
    async with live_node(tmp_path, world) as node, Caller(node.config.url, world) as caller:
        assert node.witness is not None
        node.witness.holds = holds_nothing_to_compare
        answer = await caller.ask("POST", "/add-checkpoint", f"old 0\n\n{signed.serialize()}".encode())
    assert answer.status == 200, answer.data
