"""To join an exchange: from a pin alone to a directory in force, through the one judge.

A directory authenticates itself: what comes over the wire is believed for its signatures, never for the TLS.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from clients import directories
from clients.endorsing import submission_of
from clients.errors import Declined, Tampering, UsageError
from clients.holdings import holdings
from clients.home import Home, Profile
from clients.transport import Wire
from keys.errors import BadSignature
from keys.exchange import Exchange
from keys.judge import Refused
from keys.keyring import write_private
from keys.versions import enter
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.errors import Malformed, ProtocolError
from protocol.parties import Node
from protocol.signing import Signature
from protocol.statements import DirectoryVersion, Kind
from protocol.strictjson import unbase64


@dataclass(frozen=True, slots=True)
class Place:
    """Where in the exchange a home stands."""

    node: Node
    agency: str = ""
    seat: str = ""
    nation: str = ""


def place_of_seat(directory: Directory, agency: str, seat: str) -> Place:
    """A seat is at its agency's home. Raises UsageError."""
    found = directory.by_agency.get(agency)
    if found is None:
        raise UsageError(f"{agency} is no agency of this directory", f"it has {', '.join(directory.by_agency)}")
    return Place(directory.by_origin[found.home], agency, seat, found.nation)


def place_of_custodian(directory: Directory, home: Home) -> Place:
    """A custodian works at its nation's node: that of its authority key, else of the agency that it holds.

    Raises UsageError where the directory lists none of its keys.
    """
    held = {key_id for _, _, key_id in holdings(home)}
    for nation in directory.nations:
        if any(authority.key.key_id.hex() in held for authority in nation.authorities):
            return Place(_node_of(directory, nation.id), nation=nation.id)
    for agency in directory.agencies:
        if agency.identity.key_id.hex() in held:
            return Place(directory.by_origin[agency.home], nation=agency.nation)
    raise UsageError("this directory lists no key of this home", "compare `khunjerab keys show` with the cards in it")


def _node_of(directory: Directory, nation: str) -> Node:
    """A nation's own node; where it runs none, the one at which its agencies are at home."""
    homes = [agency.home for agency in directory.agencies if agency.nation == nation]
    for node in directory.nodes:
        if node.nation == nation or (node.origin in homes and nation not in {n.nation for n in directory.nodes}):
            return node
    raise UsageError(f"{nation} has no node in this directory, and no agency at home in another's")


async def walk(
    directory: Directory, signatures: Sequence[Signature], pin: bytes, url: str, now: int
) -> list[Directory]:
    """Every version from 1 to ``directory``, each entered by the judge on the one before it.

    To believe a directory (1) version 1 must have the pin for its SHA-256 and its own thresholds; (2) each one after
    it must be signed as the judge asks; (3) the last must be the one in the file. A node shows those between.
    """
    exchange = Exchange("", pin)
    submission = submission_of(directory, signatures)
    if directory.exchange_hash != pin:  # (1), said first: it needs no node
        raise Tampering(
            "pin",
            f"this directory is of the exchange {directory.exchange_hash.hex()}",
            hint="compare the pin with the signing sheet, and the file with what was signed: nothing was joined",
        )
    walked = []
    if directory.version > 1:
        certificates = [digest for node in directory.nodes for digest in node.tls]
        async with Wire(url, certificates) as wire:
            for version in range(1, directory.version):
                exchange, entered = _enter(exchange, await fetch(wire, version), now)
                walked.append(entered)
    exchange, entered = _enter(exchange, submission, now)  # (3)
    return [*walked, entered]


def _enter(exchange: Exchange, submission: Submission, now: int) -> tuple[Exchange, Directory]:
    directory = Directory.decode(submission.body)
    try:
        return enter(exchange, submission, now), directory
    except Refused as refused:
        raise Declined(f"version {directory.version} is refused: {refused.detail}", "", refused.code) from refused
    except BadSignature as error:
        raise Tampering("bad-signature", f"of directory version {directory.version}: {error.detail}") from error


async def fetch(wire: Wire, version: int) -> Submission:
    """A version with its signatures, as a node shows it to all; unverified."""
    value = await wire.json("GET", f"/v1/directory/{version}", login=False)
    try:
        statement, signatures = (_bytes(value[name]) for name in ("statement", "signatures"))
        data = str(value["directory"]).encode()
        DirectoryVersion.decode(statement)
        return Submission(Kind.DIRECTORY, statement, signatures, (), data)
    except (KeyError, ProtocolError) as error:
        raise Declined(f"the node's answer is no directory version: {error}") from error


def _bytes(value: object) -> bytes:
    if not isinstance(value, str):
        raise Malformed("not base64")
    return unbase64(value, len(value) * 3 // 4 - value.count("="), "a signed directory")


def save(home: Home, place: Place, pin: bytes, versions: Sequence[Directory], url: str = "") -> None:
    """Keep the directory, then the profile: the commit point, without which the home has not joined."""
    for directory in versions:
        write_private(directories.file_of(home, directory.version), directory.encode(), replace=True)
    profile: Profile = replace(
        home.profile,
        agency=place.agency,
        seat=place.seat,
        nation=place.nation,
        node=url,
        pin=pin.hex(),
        origin=place.node.origin,
    )
    home.save_profile(profile)
