"""``khunjerab audit``: that no ledger was rewritten, and that every entry was signed by a key that was allowed to."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from clients import auditor, directories
from clients.archive import Archive
from clients.asked import Asked
from clients.auditor import Auditor
from clients.commands.context import AsJson, open_home, run
from clients.commands.contradiction import evidence
from clients.commands.evidence import Pin, check, home_if_any, parse_pin, prove
from clients.commands.verdict import tell
from clients.contradictions import keep
from clients.copies import Copy, mirrors_of
from clients.errors import ClientError, Declined, Unreachable, UsageError
from clients.home import Home
from clients.screen import err, say, warn
from keys.claims import parsed
from keys.finding import FAILED
from keys.fork import Contradiction
from protocol.entry import Entry
from protocol.errors import Malformed, ProtocolError
from protocol.statements import DirectoryVersion, Kind
from protocol.tlogpolicy import Policy
from protocol.treehead import Receipt

app = typer.Typer(help="Verify ledgers, prove entries, hand over evidence.", no_args_is_help=True)
app.command()(prove)
app.command()(check)
app.command()(run(evidence))


@app.command()
@run
async def verify(  # noqa: PLR0917 - one parameter an option
    ctx: typer.Context,
    sources: Annotated[
        list[str] | None, typer.Argument(help="URLs of nodes, or folders of `audit export`; every node without.")
    ] = None,
    bodies: Annotated[bool, typer.Option("--bodies", help="Fetch and hash the sealed bodies too.")] = False,
    receipts: Annotated[list[Path] | None, typer.Option(help="Receipts that a client kept; repeat for more.")] = None,
    checkpoint: Annotated[list[Path] | None, typer.Option(help="An earlier checkpoint; repeat for more.")] = None,
    policy: Annotated[
        list[Path] | None, typer.Option(help="Who must have cosigned: a C2SP tlog-policy; repeat for each ledger.")
    ] = None,
    pin: Pin = "",
    as_json: AsJson = False,
) -> None:
    """Read ledgers whole and judge every entry again; end in a verdict with located findings.

    A node is asked for its own ledger and for those that it mirrors. Of several nodes each ledger is read once, from
    its own node if that is among them, and every other copy is compared with it.
    """
    home = home_if_any(ctx)
    places = auditor.sources_of(home, sources or [])
    asked = Asked(
        _pin(pin, home, places),
        bodies,
        tuple(_checkpoint(path) for path in checkpoint or []),
        tuple(receipt for path in receipts or [] for receipt in _receipts(path)),
        tuple(_policy(path) for path in policy or []),
    )
    audit, hinder = Auditor(asked, _Progress()), _Hinder()
    await _audit_nodes(audit, home, [place for place in places if isinstance(place, str)], hinder)
    await audit.audit_folders([Archive(place) for place in places if isinstance(place, Path)])
    report = audit.report()
    for shown in audit.evidence:
        _keep(home, shown)
    if home is not None and audit.directory is not None and report.verdict != FAILED:
        directories.keep(home, audit.directory)
    tell(report, as_json=as_json, hindered=hinder.error)


async def _audit_nodes(audit: Auditor, home: Home | None, urls: list[str], hinder: _Hinder) -> None:
    """Each ledger once, and every other copy of it."""
    if not urls:
        return
    if home is None:
        raise UsageError("a node is audited from the home of a seat with the role audit", "name it with --home")
    async with contextlib.AsyncExitStack() as open_wires:
        sites = []
        for url in urls:
            with hinder(url):
                site = await auditor.site_of(home, url)
                await open_wires.enter_async_context(site.wire)
                sites.append(site)
        await audit.audit_nodes(sites, lambda origin: auditor.archive_of(home, origin), hinder)


class _Hinder:
    """Tells why a node could not be asked, and lets the audit go on with the others."""

    error: ClientError | None = None

    @contextlib.contextmanager
    def __call__(self, url: str) -> Iterator[None]:
        """Around what one node is asked."""
        try:
            yield
        except (Unreachable, Declined) as error:
            self.error = error
            warn(f"{url}: {error.detail}; going on with the others")


def _keep(home: Home | None, shown: Contradiction) -> None:
    if home is None:
        warn(f"{shown.origin}: {shown}: audited from a home, the evidence of it would be kept")
        return
    keep(home.state, shown)
    warn(f"{shown.origin}: {shown}; the evidence is kept: khunjerab audit evidence")


@app.command()
@run
async def export(
    ctx: typer.Context,
    folder: Annotated[Path, typer.Argument(help="Absent, or an earlier export of the same ledger.")],
    source: Annotated[str, typer.Option(help="URL of the node; the home's own without.")] = "",
    origin: Annotated[str, typer.Option(help="Of a ledger that the node mirrors; its own without.")] = "",
    bodies: Annotated[bool, typer.Option("--bodies", help="With the sealed bodies.")] = False,
) -> None:
    """Write a ledger as a folder that anyone can verify without a network."""
    home = open_home(ctx)
    site = await auditor.site_of(home, source or auditor.urls_of(home)[0])
    copy = Copy(site.wire, "" if origin in {"", site.origin} else origin)
    async with site.wire:
        try:
            checkpoint = await auditor.export_ledger(copy, Archive(folder), bodies=bodies, progress=_Progress())
        except Declined as refused:
            served = [site.origin, *await mirrors_of(site.wire)]
            if refused.code != "not-found" or copy.mirrored in {"", *served}:
                raise
            raise UsageError(f"no ledger {origin} is served there", f"it serves {', '.join(served)}") from None
    say(f"{checkpoint.size} entries of {checkpoint.origin} are in {folder}")


class _Progress:
    """A line on the terminal that is written over; nothing where stderr is not one."""

    def __call__(self, origin: str, done: int, size: int) -> None:
        if err.file.isatty():
            err.print(f"\r{origin}: {done} of {size} entries", end="\n" if done == size else "")


def _pin(given: str, home: Home | None, places: list[str | Path]) -> bytes:
    """What all trust begins with: given, the home's, or with a warning what the first folder itself begins with."""
    value = given or (home.profile.pin if home else "")
    if not value:
        first = next((_first_directory(place) for place in places if isinstance(place, Path)), b"")
        warn(f"no --pin: the verdict is about whatever exchange begins with directory {first.hex()}")
        return first
    return parse_pin(value)


def _first_directory(folder: Path) -> bytes:
    entries = Archive(folder).entries(0, 1)
    try:
        entry = Entry.decode(entries[0]) if entries else None
        if entry is not None and entry.kind is Kind.DIRECTORY:
            return DirectoryVersion.decode(entry.statement).sha256
    except ProtocolError:
        pass
    raise UsageError(f"{folder} does not begin with a directory", "name the pin with --pin")


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except UnicodeDecodeError:
        raise UsageError(f"{path} is not UTF-8") from None


def _checkpoint(path: Path) -> str:
    """What no log can have signed accuses none."""
    note = _text(path)
    if parsed(note) is None:
        raise UsageError(f"{path} is no checkpoint", "an auditor keeps one in `checkpoint`, as `audit export` does")
    return note


def _policy(path: Path) -> Policy:
    try:
        return Policy.parse(_text(path))
    except ProtocolError as error:
        raise UsageError(f"{path}, {error.detail}", "it is to be a C2SP tlog-policy") from None


def _receipts(path: Path) -> list[Receipt]:
    """One receipt as it came, or lines of JSON with a `receipt` in hexadecimal, as `post --json` prints them."""
    data = path.read_bytes()
    try:
        if not data.lstrip().startswith(b"{"):
            return [Receipt.decode(data)]
        values = [json.loads(line) for line in data.splitlines() if line.strip()]
        return [Receipt.decode(bytes.fromhex(value["receipt"])) for value in values if "receipt" in value]
    except (ProtocolError, ValueError, TypeError) as error:
        detail = error.detail if isinstance(error, Malformed) else str(error)
        raise UsageError(f"{path} holds no receipts: {detail}") from None
