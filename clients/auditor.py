"""The auditor: from nodes and folders to one verdict, and what its home keeps for the next time.

A ledger is fetched into an archive in the home, `audit/<sha256 of origin>/`, and audited on the way: from its own node,
or where that is not asked or does not answer from one that mirrors it. Every other node's copy is compared with that.
Entries that an earlier audit verified are not fetched again; they are judged again. The archive's checkpoint moves
last, and only to a history that extends the one before.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path

from clients import directories
from clients.archive import Archive
from clients.asked import Asked
from clients.clock import now_ms
from clients.comparing import Audited, Compared, compare
from clients.copies import Copy, Folder, mirrors_of
from clients.errors import UsageError
from clients.fetching import Fetcher
from clients.home import Home
from clients.transport import Wire
from keys.auditing import LedgerAudit, Terms
from keys.claims import nodes_of, parsed
from keys.deadlines import Deadlines
from keys.exchange import Exchange
from keys.finding import Finding, Report, in_order, joined
from keys.fork import Contradiction, SignedTree
from keys.owed import Verifiers, verifying
from keys.replay import Step
from keys.signing import SigningKey
from keys.versions import lineage
from protocol import merkle
from protocol.checkpoint import Checkpoint
from protocol.directory import Directory
from protocol.entry import Submission
from protocol.merkle import HASH_BYTES
from protocol.parties import Node
from protocol.statements import Kind
from protocol.tiles import WIDTH, TilePath, partial_width

HISTORY = frozenset({"checkpoint", "root", "consistency", "truncated", "broken-promise", "tile"})
UNSHOWN = frozenset({"checkpoint", "root", "tile"})  # then its tiles are not those of what the log signed
PROVED_MAX = 64  # earlier trees that evidence is looked for in
Progress = Callable[[str, int, int], None]
Hinder = Callable[[str], AbstractContextManager[None]]  # around what one node is asked: tells why it did not work


@dataclass(frozen=True, slots=True)
class Site:
    """A node that is asked, and the origin of its own ledger."""

    wire: Wire
    origin: str


class Auditor:
    """Audits one source after the other; ``report`` is about all of them."""

    def __init__(self, asked: Asked, progress: Progress) -> None:
        self._asked, self._progress = asked, progress
        self._deadlines = Deadlines()
        self._reports: list[Report] = []
        self._audited: dict[str, Audited] = {}
        self.directory: Directory | None = None  # the newest seen
        self.evidence: list[Contradiction] = []  # against logs that signed two histories

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
        handed |= self._asked.policied()
        return [
            f"{origin}: what was handed over was not used, as it was not audited" for origin in sorted(handed - audited)
        ]

    async def audit_folders(self, archives: Sequence[Archive]) -> None:
        """Ledgers at hand, after the nodes: the largest of each is read, the others are compared with what was read.

        Raises UsageError where a folder holds none.
        """
        folders = [(folder, *(await folder.checkpoint())) for folder in map(Folder, archives)]
        for folder, note, checkpoint in sorted(folders, key=lambda one: -one[2].size):
            audited = self._audited.get(checkpoint.origin)
            if audited is None:
                self._audit_folder(folder.archive, note, checkpoint)
            else:
                self._note_compared(await compare(audited, folder, ()))

    def _note_compared(self, compared: Compared) -> None:
        self._hold(compared.evidence)
        self._reports.append(Report(findings=tuple(compared.findings), missing=tuple(compared.missing)))

    def _audit_folder(self, archive: Archive, note: str, checkpoint: Checkpoint) -> None:
        with verifying() as verifiers:
            audit, line = self._begin(checkpoint, archive, self._asked.terms(note), verifiers), _Line()
            while audit.derived.size < checkpoint.size:
                start = audit.derived.size
                entries = archive.entries(start, min(start + WIDTH, checkpoint.size))
                if not entries:
                    break
                audit.take(entries, line.see)
                self._progress(checkpoint.origin, audit.derived.size, checkpoint.size)
            report = audit.finish()
        audited = Audited(archive, note, checkpoint, audit.exchange, line.to(audit.exchange))
        if any(finding.check in HISTORY for finding in report.findings):
            self._prove(audited, None)
        self._remember(audited, report)
        self._end(audit, report)

    async def audit_nodes(self, sites: Sequence[Site], archive_of: Callable[[str], Archive], hinder: Hinder) -> None:
        """Each node's own ledger, then what every node mirrors: compared where it was audited, else audited there.

        ``hinder`` is told of each node that does not answer or refuses; the others go on without it.
        """
        reached = []
        for site in sites:
            with hinder(site.wire.url):
                await self.audit_copy(Copy(site.wire), archive_of(site.origin))
                reached.append(site)
        for site in reached:
            with hinder(site.wire.url):
                mirrored = [origin for origin in await mirrors_of(site.wire) if origin != site.origin]
                self._note_not_mirrored(site, mirrored)
                for origin in mirrored:
                    await self._audit_mirror(site, Copy(site.wire, origin), archive_of(origin))

    def _note_not_mirrored(self, site: Site, mirrored: Sequence[str]) -> None:
        for origin in self._audited:
            if origin not in {site.origin, *mirrored}:
                self._reports.append(Report(warnings=(f"{origin}: {site.wire.url} keeps no copy of it",)))

    async def _audit_mirror(self, site: Site, copy: Copy, archive: Archive) -> None:
        audited = self._audited.get(copy.mirrored)
        if audited is None:
            await self.audit_copy(copy, archive)
            return
        node = next((one for one in nodes_of(replace(audited.exchange, origin=site.origin))), None)
        self._note_compared(await compare(audited, copy, node.cosigner if node is not None else ()))

    async def audit_copy(self, copy: Copy, archive: Archive) -> None:
        """A ledger as a node shows it, its own or one that it mirrors. Raises Unreachable, Declined."""
        note, checkpoint = await copy.checkpoint()
        kept_note = archive.checkpoint()
        kept = parsed(kept_note)
        behind = kept is not None and kept.size > checkpoint.size and bool(copy.mirrored)  # a mirror may lag
        staged = archive.stage()
        bodies = self._asked.bodies and not copy.mirrored  # a mirror has those that its own agencies need
        beyond = frozenset(self._beyond(checkpoint) if copy.mirrored else ())
        terms = replace(self._asked.terms(note, "" if behind else kept_note, beyond=beyond), bodies=bodies)
        fetcher, line = Fetcher(copy, staged, checkpoint, bodies=bodies), _Line()
        loop = asyncio.get_running_loop()
        with verifying() as verifiers, ThreadPoolExecutor(1, thread_name_prefix="judge") as judge:
            audit = self._begin(checkpoint, staged, terms, verifiers)
            async for entries in fetcher.bundles(min(kept.size, checkpoint.size) if kept else 0):
                await loop.run_in_executor(judge, audit.take, entries, line.see)
                self._progress(checkpoint.origin, audit.derived.size, checkpoint.size)
            report = await loop.run_in_executor(judge, audit.finish)
        audited = Audited(
            staged, note, checkpoint, audit.exchange, line.to(audit.exchange), None if copy.mirrored else copy
        )
        if beyond:
            lag = f"{checkpoint.origin}: {copy.wire.url} has not yet all entries of a checkpoint that was handed over"
            report = replace(report, missing=(*report.missing, lag))
        if behind and kept is not None:
            report = _with_lag(report, audited, archive, kept, copy)
        if any(finding.check in HISTORY for finding in report.findings):
            report = self._located(report, checkpoint, kept, archive, staged)
            self._prove(audited, archive)
            aside = archive.set_aside(staged, note, f"another-{now_ms()}")
            audited = replace(audited, archive=Archive(aside))
            report = replace(report, warnings=(*report.warnings, f"{checkpoint.origin}: what it showed is in {aside}"))
        elif behind:
            audited = replace(audited, archive=archive)
        else:
            archive.take_in(staged, note)  # commit point
            audited = replace(audited, archive=archive)
        self._remember(audited, report)
        self._end(audit, report)

    def _beyond(self, shown: Checkpoint) -> Iterator[str]:
        """Checkpoints that were handed over of trees larger than a mirror has yet."""
        for note in self._asked.checkpoints:
            checkpoint = parsed(note)
            if checkpoint is not None and checkpoint.origin == shown.origin and checkpoint.size > shown.size:
                yield note

    def _remember(self, audited: Audited, report: Report) -> None:
        """What copies can be compared with."""
        if not any(finding.check in UNSHOWN for finding in report.findings):
            self._audited[audited.checkpoint.origin] = audited

    def _prove(self, audited: Audited, kept: Archive | None) -> None:
        """Whether what is held against a ledger shows that its log signed two histories: the first that does."""
        origin = audited.checkpoint.origin
        heads = {receipt.head for receipt in self._asked.receipts if receipt.head.origin == origin}
        others: list[SignedTree] = [*self._asked.checkpoints, *sorted(heads, key=lambda head: head.size)]
        others = [kept.checkpoint(), *others] if kept is not None else others
        for other in others[:PROVED_MAX]:
            shown = audited.proved(other, kept.hash_tile if kept is not None else _no_tile)
            if shown is not None:
                self._hold([shown])
                return

    def _hold(self, found: Sequence[Contradiction]) -> None:
        """Each pair of trees once, however many copies show it."""
        known = {shown.trees for shown in self.evidence}
        self.evidence += {shown.trees: shown for shown in found if shown.trees not in known}.values()

    def _begin(self, checkpoint: Checkpoint, archive: Archive, terms: Terms, verifiers: Verifiers) -> LedgerAudit:
        return LedgerAudit(checkpoint.origin, archive, terms, verifiers, self._deadlines)

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


def _no_tile(path: TilePath) -> None:
    """Of a tree that is only handed over: it has to be the smaller one."""
    del path


class _Line:
    """The directory versions that stand in a ledger, as they were signed."""

    def __init__(self) -> None:
        self._signed: list[Submission] = []

    def see(self, step: Step, leaf: bytes, before: Exchange) -> None:
        """Each entry as it is taken."""
        del leaf, before
        entry, accepted = step.entry, step.accepted
        if entry is not None and accepted is not None and accepted.directory is not None:
            json = accepted.directory.encode()
            self._signed.append(Submission(Kind.DIRECTORY, entry.statement, entry.signatures, (), json))

    def to(self, exchange: Exchange) -> tuple[Submission, ...]:
        """Those that lead to the one in force."""
        return lineage(self._signed, exchange.directory.hash) if exchange.directory else ()


def _with_lag(report: Report, shown: Audited, archive: Archive, kept: Checkpoint, copy: Copy) -> Report:
    """A copy that has less than what was audited before must still be what that begins with."""
    size, origin = shown.checkpoint.size, shown.checkpoint.origin
    before = replace(shown, archive=archive, checkpoint=kept)
    lag = f"{origin}: the copy at {copy.wire.url} has {size} of the {kept.size} entries that were audited before"
    report = replace(report, warnings=(*report.warnings, lag))
    root = merkle.root(size, before.node)
    if root == shown.checkpoint.root:
        return report
    expected = f"root {root.hex()} over {size} entries, as audited before"
    finding = Finding(origin, size - 1, "consistency", expected, shown.checkpoint.root.hex())
    return replace(report, findings=in_order((*report.findings, finding)))


async def export_ledger(copy: Copy, archive: Archive, *, bodies: bool, progress: Progress) -> Checkpoint:
    """A ledger as a folder for others; whoever gets it verifies it."""
    note, checkpoint = await copy.checkpoint()
    done = 0
    async for entries in Fetcher(copy, archive, checkpoint, bodies=bodies).bundles(0):
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
    directory = directories.newest(home)
    if directory is None or not home.profile.pin:
        raise UsageError("this home has not joined an exchange", "khunjerab join DIRECTORY.json SIG… --pin …")
    return directory


def urls_of(home: Home) -> list[str]:
    """Every node of the exchange, the home's own first."""
    directory, profile = directory_of(home), home.profile
    urls = [profile.node if profile.node and node.origin == profile.origin else node.url for node in directory.nodes]
    own = next((url for node, url in zip(directory.nodes, urls, strict=True) if node.origin == profile.origin), None)
    return sorted(urls, key=lambda url: url != own)


async def site_of(home: Home, url: str) -> Site:
    """A node, its connection still to be entered, with the home's key. Raises UsageError, Unreachable."""
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
    return Site(wire, origin)


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
