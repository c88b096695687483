"""The auditor: from nodes and folders to one verdict, and what its home keeps for the next time (DESIGN §6).

A node's ledger is fetched into an archive in the home, `audit/<sha256 of origin>/`, and audited on the way. Entries
that an earlier audit verified are not fetched again; they are judged again. The archive's checkpoint moves last, and
only to a history that extends the one before.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from clients.archive import Archive
from clients.errors import Unreachable, UsageError
from clients.fetching import Fetcher
from clients.home import Home
from clients.transport import Wire
from keys.auditing import LedgerAudit, Terms
from keys.claims import Claims, parsed
from keys.deadlines import Deadlines
from keys.finding import Finding, Report, in_order, joined
from keys.owed import verifying
from keys.signing import SigningKey
from protocol.checkpoint import Checkpoint
from protocol.directory import Directory
from protocol.merkle import HASH_BYTES
from protocol.parties import Node
from protocol.tiles import WIDTH, partial_width
from protocol.tlogpolicy import Policy
from protocol.treehead import Receipt

HISTORY = frozenset({"checkpoint", "root", "consistency", "truncated", "broken-promise", "tile"})
Progress = Callable[[str, int, int], None]


def now_ms() -> int:
    """Milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What an audit is asked for, beside its sources."""

    pin: bytes
    bodies: bool = False
    checkpoints: tuple[str, ...] = ()
    receipts: tuple[Receipt, ...] = ()
    policy: Policy | None = None

    def terms(self, published: str, *earlier: str) -> Terms:
        """For one ledger."""
        handed = tuple(note for note in (*earlier, *self.checkpoints) if note)
        return Terms(self.pin, now_ms(), Claims(published, handed, self.receipts, self.policy), self.bodies)


class Auditor:
    """Audits one source after the other; ``report`` is about all of them."""

    def __init__(self, asked: Asked, progress: Progress) -> None:
        self._asked, self._progress = asked, progress
        self._deadlines = Deadlines()
        self._reports: list[Report] = []
        self.directory: Directory | None = None  # the newest seen

    def report(self) -> Report:
        """Everything found, and who acknowledged late."""
        homes = {agency.id: agency.home for agency in self.directory.agencies} if self.directory else {}
        late = Report(warnings=(*self._deadlines.warnings(now_ms(), homes), *self._not_used()))
        return joined([*self._reports, late])

    def _not_used(self) -> list[str]:
        """What was handed over about ledgers that were not audited."""
        audited = {ledger.origin for report in self._reports for ledger in report.ledgers}
        handed = {receipt.head.origin for receipt in self._asked.receipts}
        handed |= {checkpoint.origin for note in self._asked.checkpoints if (checkpoint := parsed(note))}
        return [
            f"{origin}: what was handed over was not used, as it was not audited" for origin in sorted(handed - audited)
        ]

    def audit_folder(self, archive: Archive) -> None:
        """A ledger at hand. Raises UsageError where there is none."""
        note = archive.checkpoint()
        checkpoint = parsed(note)
        if checkpoint is None:
            raise UsageError(f"{archive.folder} holds no checkpoint", "`khunjerab audit export` writes such a folder")
        with verifying() as threads:
            audit = self._begin(checkpoint, archive, self._asked.terms(note), threads)
            while audit.derived.size < checkpoint.size:
                start = audit.derived.size
                entries = archive.entries(start, min(start + WIDTH, checkpoint.size))
                if not entries:
                    break
                audit.take(entries)
                self._progress(checkpoint.origin, audit.derived.size, checkpoint.size)
            self._end(audit, audit.finish())

    async def audit_node(self, wire: Wire, archive: Archive) -> None:
        """A node's ledger. Raises Unreachable, Declined."""
        note = await fetch_checkpoint(wire)
        checkpoint = _checkpoint_of(note, wire)
        kept_note = archive.checkpoint()
        kept = parsed(kept_note)
        staged = archive.stage()
        fetcher = Fetcher(wire, staged, checkpoint, bodies=self._asked.bodies)
        loop = asyncio.get_running_loop()
        with verifying() as threads, ThreadPoolExecutor(1, thread_name_prefix="judge") as judge:
            audit = self._begin(checkpoint, staged, self._asked.terms(note, kept_note), threads)
            async for entries in fetcher.bundles(min(kept.size, checkpoint.size) if kept else 0):
                await loop.run_in_executor(judge, audit.take, entries)
                self._progress(checkpoint.origin, audit.derived.size, checkpoint.size)
            report = await loop.run_in_executor(judge, audit.finish)
        if not any(finding.check in HISTORY for finding in report.findings):
            archive.take_in(staged, note)  # commit point
        else:
            report = self._located(report, checkpoint, kept, archive, staged)
            aside = archive.set_aside(staged, note, f"another-{now_ms()}")
            report = replace(report, warnings=(*report.warnings, f"{checkpoint.origin}: what it showed is in {aside}"))
        self._end(audit, report)

    def _begin(
        self, checkpoint: Checkpoint, archive: Archive, terms: Terms, threads: ThreadPoolExecutor
    ) -> LedgerAudit:
        return LedgerAudit(checkpoint.origin, archive, terms, threads, self._deadlines)

    def _end(self, audit: LedgerAudit, report: Report) -> None:
        self._reports.append(report)
        directory = audit.exchange.directory
        if directory and (self.directory is None or directory.version > self.directory.version):
            self.directory = directory

    def _located(
        self, report: Report, shown: Checkpoint, kept: Checkpoint | None, archive: Archive, staged: Archive
    ) -> Report:
        """Where the tree that is shown now leaves the one that was kept: by the hash tiles of both."""
        size = min(kept.size, shown.size) if kept else 0
        for number in range((size + WIDTH - 1) // WIDTH):
            width = partial_width(size, 0, number)
            held, now = archive.tile(0, number, width) or b"", staged.tile(0, number, width) or b""
            for at in range(0, width * HASH_BYTES, HASH_BYTES):
                before, after = held[at : at + HASH_BYTES], now[at : at + HASH_BYTES]
                if before != after:
                    index = number * WIDTH + at // HASH_BYTES
                    found = Finding(shown.origin, index, "consistency", f"the leaf kept, {before.hex()}", after.hex())
                    return replace(report, findings=in_order((*report.findings, found)))
        return report


async def fetch_checkpoint(wire: Wire) -> str:
    """The node's newest checkpoint, unverified."""
    return (await wire.request("GET", "/checkpoint", login=False)).decode("utf-8", "replace")


def _checkpoint_of(note: str, wire: Wire) -> Checkpoint:
    checkpoint = parsed(note)
    if checkpoint is None:
        raise Unreachable(f"{wire.url} answers what is no checkpoint", "is this a node?")
    return checkpoint


async def export_node(wire: Wire, archive: Archive, *, bodies: bool, progress: Progress) -> Checkpoint:
    """A node's ledger as a folder for others; whoever gets it verifies it."""
    note = await fetch_checkpoint(wire)
    checkpoint = _checkpoint_of(note, wire)
    done = 0
    async for entries in Fetcher(wire, archive, checkpoint, bodies=bodies).bundles(0):
        done += len(entries)
        progress(checkpoint.origin, done, checkpoint.size)
    archive.write_readme()
    archive.write_checkpoint(note)
    return checkpoint


# The auditor's home


def archive_of(home: Home, origin: str) -> Archive:
    """Where a home keeps a ledger."""
    return Archive(home.folder / "audit" / hashlib.sha256(origin.encode()).hexdigest())


def directory_of(home: Home) -> Directory:
    """The newest directory file of the home. Raises UsageError where it has not joined."""
    files = sorted(
        (home.folder / "directory").glob("*.json"), key=lambda path: int(path.stem) if path.stem.isdigit() else 0
    )
    if not files or not home.profile.pin:
        raise UsageError("this home has not joined an exchange", "khunjerab join DIRECTORY.json SIG… --pin …")
    return Directory.decode(files[-1].read_bytes())


def keep_directory(home: Home, directory: Directory) -> None:
    """A newer version, once it was audited."""
    path = home.folder / "directory" / f"{directory.version}.json"
    if not path.exists():
        path.parent.mkdir(exist_ok=True, mode=0o700)
        path.write_bytes(directory.encode())


def urls_of(home: Home) -> list[str]:
    """Every node of the exchange, the home's own first."""
    directory, profile = directory_of(home), home.profile
    urls = [profile.node if profile.node and node.origin == profile.origin else node.url for node in directory.nodes]
    own = next((url for node, url in zip(directory.nodes, urls, strict=True) if node.origin == profile.origin), None)
    return sorted(urls, key=lambda url: url != own)


async def wire_to(home: Home, url: str) -> tuple[Wire, str]:
    """A connection with the home's key, still to be entered, and the origin of the node. Raises UsageError."""
    node = _node_at(home, url)
    key = home.keyring.get("signing")
    if key is None:
        raise UsageError(
            "this home has no seat to log in with", "an audit needs a seat of an agency with the role audit"
        )
    tls = node.tls if node else _every_certificate(home)
    wire = Wire(url, tls)
    origin = node.origin if node else await _origin_of(url, tls)
    wire.log_in_as(SigningKey(key), bytes.fromhex(home.profile.pin), origin, archive_of(home, origin).checkpoint())
    return wire, origin


def _node_at(home: Home, url: str) -> Node | None:
    directory, profile = directory_of(home), home.profile
    wanted = url.rstrip("/")
    if profile.node and wanted == profile.node.rstrip("/"):
        return directory.by_origin.get(profile.origin)
    return next((node for node in directory.nodes if node.url.rstrip("/") == wanted), None)


def _every_certificate(home: Home) -> tuple[bytes, ...]:
    """A node at an address that the directory does not list still shows a certificate that it does."""
    return tuple(digest for node in directory_of(home).nodes for digest in node.tls)


async def _origin_of(url: str, tls: Sequence[bytes]) -> str:
    """What a node at another address says it is: enough to log in, and to look for it in the directory."""
    async with Wire(url, tls) as wire:
        return str((await wire.json("GET", "/v1/node", login=False)).get("origin", ""))


def sources_of(home: Home | None, given: Sequence[str]) -> list[str | Path]:
    """Folders and URLs, by what they look like; every node of the exchange where none is given."""
    if not given:
        if home is None:
            raise UsageError("no source", "name a node's URL or a folder of `audit export`")
        return list(urls_of(home))
    return [source if source.startswith(("http://", "https://")) else Path(source) for source in given]
