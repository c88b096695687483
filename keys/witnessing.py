"""Who must have cosigned a ledger's checkpoint, and who has (SPEC §9.6).

A ledger is witnessed by the nodes of the other nations: what one of them cosigned it has seen whole, and consistent
with all that it cosigned before, so no two readers can be shown two histories without it. A node signs with two keys,
and only both together count for it: the Ed25519 line alone would not outlast a quantum computer.
"""

from __future__ import annotations

from collections.abc import Iterable

from keys.lognote import open_checkpoint
from protocol.checkpoint import Checkpoint
from protocol.directory import Directory
from protocol.errors import ProofFailed
from protocol.note import VerifierKey
from protocol.parties import Node
from protocol.record import Record
from protocol.tlogpolicy import NONE, Group, Log, Policy, Witness

_EVERY = "EVERY-NATION"  # neither a nation nor an origin is written so


class Witnessed(Record):
    """A checkpoint that its log signed: whose cosignatures stand under it, and whether they are what a policy asks."""

    checkpoint: Checkpoint
    by: tuple[str, ...]  # origins of nodes; of a third party the name that its keys have
    enough: bool


def policy_of(directory: Directory, origin: str) -> Policy:
    """The default for one ledger: every other nation that has a cosigning node must have cosigned by one of them.

    Raises ProofFailed where the directory lists no node of that origin.
    """
    own = directory.by_origin.get(origin)
    if own is None:
        raise ProofFailed(f"no directory in force lists the node {origin}")
    nations: dict[str, list[Node]] = {}
    for node in directory.nodes:
        if node.nation != own.nation and node.cosigner:
            nations.setdefault(node.nation, []).append(node)
    items: list[Witness | Group] = []
    for nation, nodes in nations.items():
        for node in nodes:
            items += _keys_of(node)
        items.append(Group(nation, 1, tuple(node.origin for node in nodes)))
    if nations:
        items.append(Group(_EVERY, len(nations), tuple(nations)))
    logs = tuple(Log(key, own.url) for key in own.log)
    return Policy(logs, tuple(items), _EVERY if nations else NONE)


def _keys_of(node: Node) -> list[Witness | Group]:
    """A node has witnessed what every key of it has."""
    witnesses = [Witness(f"{node.origin}+{key.key_id.hex()}", key, node.url) for key in node.cosigner]
    names = tuple(witness.name for witness in witnesses)
    return [*witnesses, Group(node.origin, len(names), names)]


def witnessed(note: str, origin: str, directory: Directory, policy: Policy) -> Witnessed:
    """What a signed checkpoint of ``origin`` has behind it. Raises ProofFailed, Malformed or TooLarge.

    To count a cosignature we must find that
    (1) the log signed the checkpoint with every key that the policy gives for it;
    (2) each line of a cosigner's key known to the directory or the policy verifies, and has a time: one that fails
        spoils the note, as a reader cannot tell what else was altered;
    (3) every key of that cosigner is under it; the ledger's own node is no witness of it.
    """
    others = [node for node in directory.nodes if node.origin != origin and node.cosigner]
    listed = [key for node in others for key in node.cosigner]
    opened = open_checkpoint(
        note, policy.log_keys(origin), list(dict.fromkeys([*listed, *policy.witness_keys()]))
    )  # (1) (2)
    by = [node.origin for node in others if opened.cosigners.issuperset(node.cosigner)]  # (3)
    strangers = [key for key in policy.witness_keys() if key not in set(listed)]
    by += [name for name, keys in _by_name(strangers).items() if opened.cosigners.issuperset(keys)]
    return Witnessed(opened.checkpoint, tuple(by), policy.satisfied_by(opened.cosigners))


def _by_name(keys: Iterable[VerifierKey]) -> dict[str, list[VerifierKey]]:
    named: dict[str, list[VerifierKey]] = {}
    for key in keys:
        named.setdefault(key.name, []).append(key)
    return named
