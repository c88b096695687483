"""``khunjerab directory``: draft, read, sign, check and publish the list that all its nations agree on."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from clients import drafting, endorsing
from clients.asking import confirm
from clients.client import Client
from clients.clock import now_ms
from clients.commands import drafting as parts
from clients.commands.context import AsJson, context_of, open_home, run
from clients.commands.drafting import DEFAULT
from clients.differing import differences
from clients.directories import newest, read
from clients.endorsing import Review
from clients.errors import Declined, UsageError
from clients.governing import governing
from clients.holdings import held_key
from clients.home import Home
from clients.screen import emit, out, say, warn
from clients.signed import Handed
from keys.exchange import Exchange
from keys.signing import SigningKey
from protocol import limits
from protocol.directory import Directory
from protocol.errors import ProtocolError
from protocol.strictjson import loads
from protocol.times import format_time

app = typer.Typer(help="Draft, sign, check and publish the directory.", no_args_is_help=True)
app.add_typer(parts.add, name="add")
app.add_typer(parts.change, name="set")
app.add_typer(parts.remove, name="remove")

File = Annotated[Path, typer.Argument(metavar="D.json")]
Signatures = Annotated[list[Path] | None, typer.Argument(metavar="[SIG…]", help="Signature files.")]
Before = Annotated[Path | None, typer.Option("--on", help="Version N, where this home does not hold it.")]


def _known(ctx: typer.Context, before: Path | None) -> Directory | None:
    """Version N: from a file, else the newest that the home has verified: in its replica, or when it joined."""
    if before is not None:
        return read(before)
    folder = context_of(ctx).home
    return newest(Home(folder)) if (folder / "profile.toml").exists() else None


@app.command()
def new(
    ctx: typer.Context,
    *,
    output: Annotated[Path, typer.Option("-o", "--output", help="The draft's file.")] = DEFAULT,
    on: Before = None,
    days: Annotated[int, typer.Option(help="How long it lives, at most 400.")] = drafting.LIFE_DAYS,
) -> None:
    """Begin a draft: version 1, or the next on the version in force."""
    if output.exists():
        raise UsageError(f"{output} is there already", "name another with -o, or remove it")
    before = _known(ctx, on)
    draft = drafting.follow(before, now_ms(), days) if before else drafting.begin(now_ms(), days)
    output.write_bytes(draft.encode())
    say(f"{output}: version {draft.version}, expires {format_time(draft.expires)}, not signed")


@app.command()
def diff(
    a: Annotated[Path, typer.Argument(metavar="A")],
    b: Annotated[Path, typer.Argument(metavar="B")],
) -> None:
    """What B changes in A, in words."""
    _print_lines(differences(_draft(a), _draft(b)))


def _draft(path: Path) -> Directory:
    try:
        return Directory.draft(path.read_bytes())
    except ProtocolError as error:
        raise UsageError(f"{path}: {error.detail}") from None


def _print_lines(lines: Sequence[str]) -> None:
    for line in lines:
        out.print(line, markup=False)


@app.command()
def sign(
    ctx: typer.Context,
    file: File,
    *,
    output: Annotated[Path | None, typer.Option("-o", "--output", help="By default D.json.NAME.sig.")] = None,
    on: Before = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
) -> None:
    """Read what it changes, and sign it with this home's authority key."""
    home = open_home(ctx)
    directory = read(file)
    before = _known(ctx, on)
    for line in differences(before, directory):
        say(line)
    say(f"SHA-256 {directory.hash.hex()}")
    _warn_of_another(home, directory)
    confirm(f"Sign version {directory.version}?", yes=yes)
    keys = _signing_keys(home, directory, before)
    with home.state.transaction():
        home.state.add_signed(Handed.of_directory(directory), now_ms())
    for number, (name, key) in enumerate(keys):
        suffix = f".{name}.sig" if number == 0 else f".{name}.{number + 1}.sig"
        path = output if output and len(keys) == 1 else file.with_name(file.name + suffix)
        path.write_bytes(endorsing.sign(directory, key, name))
        out.print(str(path), markup=False)


def _warn_of_another(home: Home, directory: Directory) -> None:
    """Of two versions of one number each ledger takes the one that comes first, and two may not take the same."""
    for other in home.state.signed_beside(Handed.of_directory(directory)):
        warn(
            f"this home signed another version {other.number}, SHA-256 {other.digest.hex()}, on "
            f"{format_time(other.time)}: if it may be published too, see that its signatures are destroyed first"
        )


def _signing_keys(home: Home, directory: Directory, before: Directory | None) -> list[tuple[str, SigningKey]]:
    """The authority keys of this home that have a say under N or N+1: two while one is being rotated."""
    bases = [basis for basis in (before, directory) if basis]
    listed = {a.key.key_id for basis in bases for nation in basis.nations for a in nation.authorities}
    held = [held_key(home, name) for name in ("authority", "next/authority") if home.keyring.get(name)]
    found = [(home.profile.custodian, key) for key in held if key.public.key_id in listed]
    if not found:
        raise UsageError("this home's authority key has no say in this version", "is its card in the directory?")
    return found


@app.command()
def check(
    ctx: typer.Context,
    file: File,
    signatures: Signatures = None,
    *,
    on: Before = None,
    as_json: AsJson = False,
) -> None:
    """Say in words whose signatures are there and whose are missing; status 3 until it may be published."""
    directory = read(file)
    exchange = _exchange(directory, _known(ctx, on))
    found = endorsing.read_signatures(directory, signatures or [])
    review = endorsing.review(directory, found, exchange, now_ms())
    if as_json:
        emit(_as_json(directory, review))
    else:
        _show_review(directory, review)
    if review.refused is not None:
        raise Declined(f"it may not be published yet: {review.refused.detail}", "", review.refused.code)
    say("every nation has signed: khunjerab directory publish, or for version 1 khunjerab node init --directory")


def _exchange(directory: Directory, before: Directory | None) -> Exchange:
    """The exchange that ``directory`` is to follow in: empty for version 1, else with the version before in force."""
    if directory.version == 1:
        return Exchange("", directory.hash)
    if before is None or before.hash != directory.previous:
        raise UsageError(
            f"version {directory.version} follows {directory.previous.hex()}, which is not known here",
            "name that version's file with --on, or join the exchange first",
        )
    return Exchange("", before.exchange_hash).with_directory(before)


def _show_review(directory: Directory, review: Review) -> None:
    out.print(f"version {directory.version}, SHA-256 {directory.hash.hex()}", markup=False)
    if directory.version == 1:
        out.print(f"pin {directory.hash.hex()}", markup=False)
    _print_lines([str(tally) for tally in review.tallies])
    for fault in review.faults:
        warn(fault)


def _as_json(directory: Directory, review: Review) -> dict[str, object]:
    return {
        "version": directory.version,
        "sha256": directory.hash.hex(),
        "pin": directory.exchange_hash.hex(),
        "tallies": [
            {
                "version": tally.version,
                "nation": tally.nation,
                "threshold": tally.threshold,
                "signed": list(tally.signed),
                "missing": list(tally.missing),
            }
            for tally in review.tallies
        ],
        "faults": list(review.faults),
        "refused": review.refused.code if review.refused else None,
    }


@app.command()
@run
async def publish(
    ctx: typer.Context, file: File, signatures: Annotated[list[Path], typer.Argument(metavar="SIG…")]
) -> None:
    """Post a signed version at this home's node; other nations' nodes mirror it, or their custodians post it too."""
    home = open_home(ctx)
    directory = read(file)
    if directory.version == 1:
        raise UsageError("version 1 is what a ledger begins with", "khunjerab node init --directory D.json SIG…")
    found = endorsing.read_signatures(directory, signatures)
    submission = endorsing.submission_of(directory, found)
    async with governing(home, held_key(home, "authority")) as client:
        await client.sync()
        review = endorsing.review(
            directory, endorsing.read_signatures(directory, signatures), client.exchange, now_ms()
        )
        if review.refused is not None:
            _show_review(directory, review)
            raise Declined(f"it is not posted: {review.refused.detail}", "", review.refused.code)
        receipt = await client.post_governance(submission)
        say(f"version {directory.version} is in {receipt.head.origin} at {receipt.index}")


@app.command()
def show(
    ctx: typer.Context,
    file: Annotated[Path | None, typer.Argument(metavar="[D.json]")] = None,
    as_json: AsJson = False,
) -> None:
    """Read a version out: a file, or the one in force as far as this home knows."""
    directory = _draft(file) if file else _known(ctx, None)
    if directory is None:
        raise UsageError("this home knows no directory", "name a file, or join an exchange")
    if as_json:
        emit(loads(directory.encode(), limits.DIRECTORY_BYTES_MAX))
        return
    _print_lines(differences(None, directory))
    say(f"SHA-256 {directory.hash.hex()}")


@app.command()
@run
async def history(ctx: typer.Context, as_json: AsJson = False) -> None:
    """The versions of this exchange's directory, and what each changed."""
    home = open_home(ctx)
    async with Client(home) as client:
        await client.sync()
        versions = sorted(client.exchange.versions.values(), key=lambda each: each.version)
    for directory in versions:
        before = next((each for each in versions if each.hash == directory.previous), None)
        lines = differences(before, directory)
        if as_json:
            emit({"version": directory.version, "sha256": directory.hash.hex(), "changes": lines})
            continue
        out.print(f"version {directory.version}, SHA-256 {directory.hash.hex()}", markup=False)
        _print_lines([f"  {line}" for line in lines] if before else [])
