"""``khunjerab audit prove`` and ``check``: evidence, made and believed without anybody's word."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Any

import typer

from clients.archive import Archive
from clients.commands import contradiction
from clients.commands.context import AsJson, context_of, open_home
from clients.errors import Tampering, UsageError
from clients.home import Home
from clients.proving import Packer
from clients.screen import emit, format_moment, out, say, warn
from keys.evidence import Evidence, Shown
from keys.evidence import check as check_evidence
from keys.fork import Contradiction, Fork, is_fork
from keys.fork import check as check_fork
from protocol.errors import ProofFailed, ProtocolError

Pin = Annotated[str, typer.Option(help="SHA-256 of directory version 1; the home's own without.", show_default=False)]


def home_if_any(ctx: typer.Context) -> Home | None:
    """The home; none where there is none, as for whoever was handed a folder or a file."""
    return open_home(ctx) if (context_of(ctx).home / "profile.toml").exists() else None


def parse_pin(value: str) -> bytes:
    """A pin as it is typed. Raises UsageError."""
    try:
        pin = bytes.fromhex(value)
    except ValueError:
        pin = b""
    if len(pin) != hashlib.sha256().digest_size:
        raise UsageError(f"{value!r} is no SHA-256 in hexadecimal")
    return pin


def prove(
    ctx: typer.Context,
    wanted: Annotated[str, typer.Argument(metavar="ID", help="SENDER/UUID, or its last 6 or more characters.")],
    output: Annotated[Path, typer.Option("--output", "-o", help="Where to write the evidence.")],
    source: Annotated[
        Path | None, typer.Option(help="A folder of `audit export`; the audited ledgers without.")
    ] = None,
) -> None:
    """Pack all that shows one bulletin to be in its ledger by right, for someone who is offline."""
    archives = [Archive(source)] if source else _archives(open_home(ctx))
    found = [(packer, index, name) for packer in map(Packer, archives) for index, name in packer.find(wanted)]
    if len({name for _, _, name in found}) != 1:
        several = f"{wanted!r} fits {len(found)} bulletins" if found else f"no bulletin {wanted} in an audited ledger"
        raise UsageError(several, "type more of it" if found else "khunjerab audit verify fetches what is new")
    packer, index, name = found[0]
    evidence = packer.pack(index)
    try:
        check_evidence(evidence, None)
    except ProofFailed as failed:
        raise Tampering("evidence", failed.detail, packer.checkpoint.origin, index) from failed
    output.write_bytes(evidence.encode())
    say(f"{name} at {packer.checkpoint.origin}#{index}: {output}")


def _archives(home: Home) -> list[Archive]:
    folders = sorted(path.parent for path in (home.folder / "audit").glob("*/checkpoint"))
    if not folders:
        raise UsageError("this home has audited no ledger yet", "khunjerab audit verify")
    return [Archive(folder) for folder in folders]


def check(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="What `audit prove` or `audit evidence` wrote.")],
    pin: Pin = "",
    as_json: AsJson = False,
) -> None:
    """Check evidence offline, and say what it rests on.

    Of a bulletin: 0 where it holds. Of a log that signed two histories: 5, as that is tampering; stdout then says what
    is shown. Where evidence does not hold nothing is on stdout, and the status is 5 too.
    """
    home = home_if_any(ctx)
    given = pin or (home.profile.pin if home else "")
    pinned, data = parse_pin(given) if given else None, file.read_bytes()
    try:
        shown = (
            check_fork(Fork.decode(data), pinned) if is_fork(data) else check_evidence(Evidence.decode(data), pinned)
        )
    except ProofFailed as failed:
        raise Tampering("evidence", failed.detail) from failed
    except ProtocolError as error:
        raise UsageError(f"{file} is no evidence: {error.detail}") from None
    if not given:
        warn(f"no --pin: compare {shown.pin.hex()} with the pin that you were given in person")
    if isinstance(shown, Contradiction):
        contradiction.show(shown, pinned=bool(given), as_json=as_json)
        raise Tampering("fork", str(shown), shown.origin, shown.old.size - 1)
    if as_json:
        emit(_to_json(shown))
    else:
        _show(shown, pinned=bool(given))


def _show(shown: Shown, *, pinned: bool) -> None:
    header = shown.header
    out.print(f"{header.name} holds: index {shown.index} of {shown.opened.checkpoint.origin}", markup=False)
    out.print(f"  admitted {format_moment(shown.entry.time)}; {header.status}, {header.precedence}", markup=False)
    out.print(f"  to {', '.join(recipient.agency for recipient in header.recipients)}", markup=False)
    for line in _rests_on(shown, pinned=pinned):
        out.print(f"  rests on {line}", markup=False)
    out.print(
        "  does not show its content, nor whether a key was revoked or the bulletin cancelled since", markup=False
    )


def _rests_on(shown: Shown, *, pinned: bool) -> list[str]:
    """In words, from the ground up."""
    checkpoint, header, exchange = shown.opened.checkpoint, shown.header, shown.exchange
    suite = "Ed25519 and ML-DSA-65" if header.suite > 1 else "Ed25519 alone"
    seat = exchange.seat_key(header.sender, header.key_id, shown.entry.time)
    cosigned = sorted({f"{one.name} at {format_moment(one.time_s * 1000)}" for one in shown.opened.cosigned})
    force = f"the seat {seat.key_id.hex()[:16]}… of {header.sender} in force" if seat else "no seat in force"
    lines = [
        f"the exchange that begins with directory {shown.pin.hex()}, {'your pin' if pinned else 'UNPINNED'}",
        f"{shown.links} directories, revocations and suspensions, walked back to entry 0 without a gap",
        f"directory version {exchange.in_force.version} and {shown.bundles} key bundles: {force}",
        f"the seat's signature with {suite}",
    ]
    signed = f"signed by the log with Ed25519 and ML-DSA-44 at {format_moment(shown.signed)}"
    lines.append(f"a checkpoint over {checkpoint.size} entries, {signed}")
    if cosigned:
        return [*lines, f"cosignatures of {', '.join(cosigned)}: nobody there had seen another history"]
    return [*lines, "no cosignature: only this node says that everyone saw the same ledger"]


def _to_json(shown: Shown) -> dict[str, Any]:
    header, checkpoint = shown.header, shown.opened.checkpoint
    return {
        "id": header.name,
        "origin": checkpoint.origin,
        "index": shown.index,
        "status": header.status,
        "logged": shown.entry.time,
        "pin": shown.pin.hex(),
        "directory": shown.exchange.in_force.version,
        "checkpoint": {"size": checkpoint.size, "root": checkpoint.root.hex(), "time": shown.signed},
        "witnessed_by": sorted({one.name for one in shown.opened.cosigned}),
    }
