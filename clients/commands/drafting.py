"""``directory add|set|remove``: the parts of a draft, from cards and options."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated

import typer

from clients import drafting
from clients.cardfiles import read_card
from clients.errors import UsageError
from clients.screen import say
from protocol import names
from protocol.directory import Directory
from protocol.errors import ProtocolError
from protocol.label import Clearance
from protocol.parties import ROLES, Feed, Nation, Node
from protocol.strictjson import loads

add = typer.Typer(help="Put a nation, agency, feed or node into a draft.", no_args_is_help=True)
change = typer.Typer(help="Change a nation, agency, feed or node of a draft.", no_args_is_help=True)
remove = typer.Typer(help="Take a nation, agency, feed or node out of a draft.", no_args_is_help=True)

DEFAULT = Path("directory.json")
_NODE_CARD_BYTES_MAX = 64 * 1024
DraftFile = Annotated[Path, typer.Option("-d", "--draft", help="The draft's file.")]
Name = Annotated[str, typer.Option(help="As people call it.")]
Cards = Annotated[list[Path] | None, typer.Argument(metavar="[CARD…]", help="Authorities' cards.")]
Clear = Annotated[str, typer.Option(help="The highest level that it may see, in its nation's own terms.")]
Compartment = Annotated[list[str] | None, typer.Option(help="Repeat for more; 'none' for none at all.")]
Role = Annotated[list[str] | None, typer.Option(help=f"{' | '.join(ROLES)}; repeat for more.")]
Ceiling = Annotated[str, typer.Option(help="POLICY:LEVEL, as in PK:Secret.")]
Member = Annotated[list[str] | None, typer.Option(help="An agency; repeat for more.")]
Domestic = Annotated[bool | None, typer.Option("--domestic/--no-domestic", help="Bulletins may stay in one nation.")]


def edit(path: Path, change_it: Callable[[Directory], Directory]) -> None:
    """Change a draft's file. Raises UsageError for what is no draft, or does not fit in."""
    try:
        draft = change_it(Directory.draft(path.read_bytes()))
        data = draft.encode()
        Directory.draft(data)  # the form of what was typed
    except FileNotFoundError:
        raise UsageError(f"there is no draft {path}", "khunjerab directory new begins one") from None
    except ProtocolError as error:
        raise UsageError(error.detail, f"{path} is as it was") from None
    path.write_bytes(data)
    say(f"{path}: version {draft.version}, not signed")


# Nations


@add.command("nation")
def add_nation(
    id_: Annotated[str, typer.Argument(metavar="ID", help="Alpha-2, as in PK.")],
    *,
    cards: Cards = None,
    code: Annotated[str, typer.Option(help="Alpha-3, as in PAK.")],
    name: Name,
    threshold: Annotated[int, typer.Option(help="How many of its authorities must sign.")],
    levels: Annotated[str, typer.Option(help="Its levels, lowest first, joined by commas.")] = "",
    draft: DraftFile = DEFAULT,
) -> None:
    """A nation with its authorities' cards."""
    found = [read_card(card, "authority") for card in cards or []]
    nation = drafting.with_authorities(Nation(names.nation(id_), code, name, threshold, ()), found)
    edit(draft, lambda directory: drafting.add_nation(directory, nation, levels.split(",") if levels else ()))


@change.command("nation")
def set_nation(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    cards: Cards = None,
    code: Annotated[str, typer.Option(help="Alpha-3.")] = "",
    name: Name = "",
    threshold: Annotated[int, typer.Option(help="How many of its authorities must sign.", show_default=False)] = 0,
    without: Annotated[list[str] | None, typer.Option(help="Take out this authority; repeat for more.")] = None,
    draft: DraftFile = DEFAULT,
) -> None:
    """A nation's authorities, threshold or names; a card of a known name takes that one's place."""
    found = [read_card(card, "authority") for card in cards or []]

    def changed(directory: Directory) -> Directory:
        old = drafting.find_nation(directory, id_)
        new = old.replace(code=code or old.code, name=name or old.name, threshold=threshold or old.threshold)
        new = drafting.with_authorities(new, found, without or ())
        if (threshold or without) and new.threshold > len(new.authorities):
            raise UsageError(f"{new.threshold} of {len(new.authorities)} authorities of {id_} can never sign")
        return drafting.put_nation(directory, new)

    edit(draft, changed)


@remove.command("nation")
def remove_nation(id_: Annotated[str, typer.Argument(metavar="ID")], draft: DraftFile = DEFAULT) -> None:
    """A nation with its agencies and nodes."""
    edit(draft, lambda directory: drafting.remove_nation(directory, id_))


# Agencies


@add.command("agency")
def add_agency(
    card: Annotated[Path, typer.Argument(help="The agency's card; its id is in it.")],
    *,
    nation: Annotated[str, typer.Option(help="Its nation, alpha-2.")],
    clearance: Clear,
    name: Name = "",
    compartment: Compartment = None,
    role: Role = None,
    home: Annotated[str, typer.Option(help="Origin of its home ledger; by default its nation's one node.")] = "",
    feed: Annotated[list[str] | None, typer.Option(help="Make it a member of this feed; repeat for more.")] = None,
    draft: DraftFile = DEFAULT,
) -> None:
    """An agency, from the card of its identity key."""
    found = read_card(card, "agency")

    def changed(directory: Directory) -> Directory:
        new = drafting.new_agency(directory, found, nation, clearance, home)
        new = new.replace(
            name=name or new.name,
            clearance=new.clearance.replace(compartments=_list(compartment, ())),
            roles=_list(role, new.roles),
        )
        directory = drafting.put_agency(directory, new)
        for each in feed or []:
            old = drafting.find_feed(directory, each)
            directory = drafting.put_feed(directory, old.replace(members=(*old.members, new.id)))
        return directory

    edit(draft, changed)


@change.command("agency")
def set_agency(
    id_: Annotated[str, typer.Argument(metavar="ID")],
    *,
    card: Annotated[Path | None, typer.Argument(help="The card of its new identity key.")] = None,
    clearance: Clear = "",
    name: Name = "",
    compartment: Compartment = None,
    role: Role = None,
    home: Annotated[str, typer.Option(help="Origin of its home ledger.")] = "",
    draft: DraftFile = DEFAULT,
) -> None:
    """An agency's identity key, clearance, roles, home or name."""
    found = read_card(card, "agency") if card else None
    if found is not None and found.name != id_:
        raise UsageError(f"{card} is the card of {found.name}, not of {id_}")

    def changed(directory: Directory) -> Directory:
        old = drafting.find_agency(directory, id_)
        level = clearance or old.clearance.classification
        new = old.replace(
            name=name or old.name,
            home=home or old.home,
            identity=found.key if found else old.identity,
            clearance=Clearance(old.nation, level, _list(compartment, old.clearance.compartments)),
            roles=_list(role, old.roles),
        )
        return drafting.put_agency(directory, new)

    edit(draft, changed)


@remove.command("agency")
def remove_agency(id_: Annotated[str, typer.Argument(metavar="ID")], draft: DraftFile = DEFAULT) -> None:
    """An agency, out of its feeds too. That ends all its keys."""
    edit(draft, lambda directory: drafting.remove_agency(directory, id_))


# Feeds


@add.command("feed")
def add_feed(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    title: Annotated[str, typer.Option(help="What it is for.")],
    ceiling: Ceiling,
    member: Member = None,
    compartment: Compartment = None,
    domestic: Domestic = None,
    draft: DraftFile = DEFAULT,
) -> None:
    """A feed."""
    level = _ceiling(ceiling).replace(compartments=_list(compartment, ()))
    feed = Feed(names.feed(name), title, tuple(member or ()), level, bool(domestic))
    edit(draft, lambda directory: drafting.add_feed(directory, feed))


@change.command("feed")
def set_feed(
    name: Annotated[str, typer.Argument(metavar="NAME")],
    *,
    title: Annotated[str, typer.Option(help="What it is for.")] = "",
    ceiling: Ceiling = "",
    member: Member = None,
    without: Annotated[list[str] | None, typer.Option(help="Take out this member; repeat for more.")] = None,
    compartment: Compartment = None,
    domestic: Domestic = None,
    draft: DraftFile = DEFAULT,
) -> None:
    """A feed's title, ceiling or members: those named come in, those named with --without go."""

    def changed(directory: Directory) -> Directory:
        old = drafting.find_feed(directory, name)
        level = _ceiling(ceiling) if ceiling else old.ceiling
        strangers = [each for each in without or () if each not in old.members]
        if strangers:
            raise UsageError(f"{strangers[0]} is no member of {name}", f"it has {', '.join(old.members) or 'none'}")
        kept = [each for each in old.members if each not in (without or ())]
        new = old.replace(
            title=title or old.title,
            ceiling=level.replace(compartments=_list(compartment, old.ceiling.compartments)),
            members=(*kept, *(each for each in member or () if each not in kept)),
            domestic=old.domestic if domestic is None else domestic,
        )
        return drafting.put_feed(directory, new)

    edit(draft, changed)


@remove.command("feed")
def remove_feed(name: Annotated[str, typer.Argument(metavar="NAME")], draft: DraftFile = DEFAULT) -> None:
    """A feed."""
    edit(draft, lambda directory: drafting.remove_feed(directory, name))


# Nodes


@add.command("node")
@change.command("node")
def put_node(card: Annotated[Path, typer.Argument(help="What `node init` wrote.")], draft: DraftFile = DEFAULT) -> None:
    """A node by its card, which takes the place of an earlier one of the same origin."""
    try:
        node = Node.from_json(loads(card.read_bytes(), _NODE_CARD_BYTES_MAX))
    except ProtocolError as error:
        raise UsageError(f"{card} is no node's card: {error.detail}") from None
    edit(draft, lambda directory: drafting.put_node(directory, node))


@remove.command("node")
def remove_node(origin: Annotated[str, typer.Argument(metavar="ORIGIN")], draft: DraftFile = DEFAULT) -> None:
    """A node that is no agency's home."""
    edit(draft, lambda directory: drafting.remove_node(directory, origin))


def _list(values: list[str] | None, otherwise: tuple[str, ...]) -> tuple[str, ...]:
    """What was typed, if anything was; ``none`` for nothing."""
    if values is None or not values:
        return otherwise
    return () if values == ["none"] else tuple(values)


def _ceiling(value: str) -> Clearance:
    policy, colon, level = value.partition(":")
    if not colon:
        raise UsageError(f"{value!r} is not POLICY:LEVEL", "as in --ceiling PK:Secret")
    return Clearance(names.nation(policy), level)
