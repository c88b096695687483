"""keys/witnessing.py: the default policy of an origin, and whose cosignatures meet it."""

import pytest

from keys.lognote import CosignerKeys
from keys.witnessing import Witnessed, policy_of, witnessed
from protocol.checkpoint import Checkpoint
from protocol.directory import Directory
from protocol.errors import Malformed, ProofFailed
from protocol.note import Note, SignatureLine
from protocol.tlogpolicy import NONE, Policy, Witness
from tests.support.altering import replace
from tests.support.world import ORIGINS, first_directory, node, node_keys, seed

PK, CN = ORIGINS["PK"], ORIGINS["CN"]
DIRECTORY = first_directory()
CHECKPOINT = Checkpoint(PK, 42, bytes(range(32)))
TIME = 1_700_000_000
LOG_LINES = node_keys("PK").log.lines(CHECKPOINT, TIME)
CN_LINES = node_keys("CN").cosigner.lines(CHECKPOINT, TIME + 1)
ELSEWHERE = CosignerKeys("witness.example", seed("w/ed25519", 32), seed("w/mldsa44", 32))
SECOND = CosignerKeys("cn2.example/ledger/cosigner", seed("cn2/ed25519", 32), seed("cn2/mldsa44", 32))


def _witnessed(*lines: SignatureLine, directory: Directory = DIRECTORY, policy: Policy | None = None) -> Witnessed:
    note = Note(CHECKPOINT.text(), (*LOG_LINES, *lines)).encode()
    return witnessed(note, PK, directory, policy or policy_of(directory, PK))


def _with_second_chinese_node() -> Directory:
    second = replace(node("CN"), origin="cn2.example/ledger", cosigner=tuple(SECOND.vkeys()))
    return replace(DIRECTORY, nodes=(*DIRECTORY.nodes, second))


def test_the_default_policy_asks_the_node_of_the_other_nation() -> None:
    """Both cosigner keys of it, under the log keys of the origin; it is a tlog-policy file as it stands. SPEC 9.6.1."""
    policy = policy_of(DIRECTORY, PK)
    assert policy.log_keys(PK) == node_keys("PK").log.vkeys()
    assert policy.witness_keys() == node_keys("CN").cosigner.vkeys()
    assert Policy.parse(policy.encode()) == policy
    assert policy_of(DIRECTORY, CN).witness_keys() == node_keys("PK").cosigner.vkeys()


def test_without_another_nations_node_nobody_is_asked() -> None:
    """A second node of the same nation, or one that cosigns nothing, is no peer. SPEC 9.6.1."""
    alone = replace(DIRECTORY, nodes=(node("PK"),))
    assert policy_of(alone, PK).quorum == NONE
    assert _witnessed(directory=alone) == Witnessed(CHECKPOINT, (), enough=True)
    mute = replace(DIRECTORY, nodes=(node("PK"), replace(node("CN"), cosigner=())))
    assert policy_of(mute, PK).quorum == NONE
    same = replace(DIRECTORY, nodes=(node("PK"), replace(node("CN"), nation="PK")))
    assert policy_of(same, PK).quorum == NONE


def test_a_ledger_that_no_directory_lists_has_no_policy() -> None:
    """Rather than one that asks for nobody. SPEC 9.6.1."""
    with pytest.raises(ProofFailed):
        policy_of(DIRECTORY, "nowhere.example/ledger")


def test_both_keys_of_the_other_node_make_a_checkpoint_witnessed() -> None:
    """Its name is told. SPEC 9.6.2."""
    assert _witnessed(*CN_LINES) == Witnessed(CHECKPOINT, (CN,), enough=True)
    assert _witnessed() == Witnessed(CHECKPOINT, (), enough=False)


@pytest.mark.parametrize("which", [0, 1])
def test_one_key_of_a_node_alone_is_not_the_node(which: int) -> None:
    """Neither half witnesses anything. SPEC 9.6.2."""
    assert _witnessed(CN_LINES[which]) == Witnessed(CHECKPOINT, (), enough=False)


def test_a_node_is_no_witness_of_its_own_ledger() -> None:
    """Its cosigner keys say nothing here. SPEC 9.6.2."""
    assert _witnessed(*node_keys("PK").cosigner.lines(CHECKPOINT, TIME)) == Witnessed(CHECKPOINT, (), enough=False)


def test_a_cosignature_that_fails_spoils_the_note() -> None:
    """Whatever else stands under it. SPEC 9.6.2."""
    line = CN_LINES[0]
    altered = SignatureLine(line.name, line.key_id, line.signature[:-1] + bytes([line.signature[-1] ^ 1]))
    with pytest.raises(ProofFailed):
        _witnessed(altered, CN_LINES[1])


def test_a_checkpoint_of_another_log_is_not_this_ones() -> None:
    """The policy of one origin knows no other's log keys; and what is no note is none. SPEC 9.6.2."""
    note = Note(CHECKPOINT.text(), (*LOG_LINES, *CN_LINES)).encode()
    with pytest.raises(ProofFailed):
        witnessed(note, CN, DIRECTORY, policy_of(DIRECTORY, CN))
    with pytest.raises(Malformed):
        witnessed("no note", PK, DIRECTORY, policy_of(DIRECTORY, PK))


def test_any_node_of_a_nation_is_enough_and_each_nation_is_asked() -> None:
    """Of two Chinese nodes one will do; a third nation's node is asked for as well. SPEC 9.6.1."""
    directory = _with_second_chinese_node()
    assert _witnessed(*SECOND.lines(CHECKPOINT, TIME), directory=directory) == Witnessed(
        CHECKPOINT, ("cn2.example/ledger",), enough=True
    )
    third = replace(directory.nodes[2], nation="IR")
    three = replace(directory, nodes=(*directory.nodes[:2], third))
    assert _witnessed(*CN_LINES, directory=three) == Witnessed(CHECKPOINT, (CN,), enough=False)
    assert _witnessed(*CN_LINES, *SECOND.lines(CHECKPOINT, TIME), directory=three).enough


def test_a_policy_of_ones_own_may_ask_a_third_party() -> None:
    """It is told by the name of its keys; what the directory's nodes cosigned is told as well. SPEC 9.6.2."""
    logs = policy_of(DIRECTORY, PK).logs
    policy = Policy(logs, (Witness("other", ELSEWHERE.vkeys()[1]),), "other")
    lines = ELSEWHERE.lines(CHECKPOINT, TIME)
    assert _witnessed(lines[1], policy=policy) == Witnessed(CHECKPOINT, ("witness.example",), enough=True)
    assert _witnessed(lines[1], *CN_LINES, policy=policy).by == (CN, "witness.example")
    assert not _witnessed(*CN_LINES, policy=policy).enough
