"""Which witnesses a node asks: its peers, as the directory lists them, and third parties, as its own policy does."""

from __future__ import annotations

from dataclasses import dataclass

from protocol.directory import Directory
from protocol.note import VerifierKey
from protocol.tlogpolicy import Policy, Witness


@dataclass(frozen=True, slots=True)
class AskedWitness:
    """Where one answers, and the keys whose lines count. All of them must sign: one alone is no cosignature of it."""

    name: str
    url: str
    keys: tuple[VerifierKey, ...]
    tls: tuple[bytes, ...] = ()  # SHA-256 of a peer's certificates; a third party is known by its signatures alone
    is_peer: bool = False


def witnesses_of(directory: Directory, origin: str, policy: Policy | None) -> list[AskedWitness]:
    """The witnesses of the ledger at ``origin``; those that the policy names without a URL ask for themselves."""
    peers = [
        AskedWitness(node.origin, node.url, node.cosigner, node.tls, is_peer=True)
        for node in directory.nodes
        if node.origin != origin and node.cosigner
    ]
    listed = {key for peer in peers for key in peer.keys}
    others: dict[tuple[str, str], list[VerifierKey]] = {}
    for item in policy.items if policy else ():
        if isinstance(item, Witness) and item.url is not None and item.key not in listed:
            others.setdefault((item.key.name, item.url), []).append(item.key)
    return [*peers, *(AskedWitness(name, url, tuple(keys)) for (name, url), keys in others.items())]
