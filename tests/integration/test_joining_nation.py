"""A nation that joins an exchange of two that runs: its operator's commands, a node of its own, and both others."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from broker.peer import PeerConfig, save_peers
from clients.transport import Wire
from khunjerab.demo.ports import free_port
from protocol.page import Item
from protocol.parties import Node as ListedNode
from protocol.sigfile import write_signature
from protocol.signing import decode_signatures
from tests.integration.test_node_commands import typed
from tests.support.door import post, until
from tests.support.live import PASSPHRASE, now_ms
from tests.support.pair import live_pair, world_of_two
from tests.support.process import NodeProcess
from tests.support.three import NATIONS, enter, is_witnessed, with_the_third
from tests.support.world import World, digest_of, label, origin_of, signing_key

PK, CN, TJ = (origin_of(nation) for nation in NATIONS)
SECONDS_MAX = 180


@dataclass
class Newcomer:
    """The third nation's node, made by its operator; ``world`` lists it from version 2 on."""

    home: Path
    passphrase: Path
    url: str
    world: World

    async def node(self, *words: str, status: int = 0) -> str:
        """What `khunjerab node` said about it."""
        ended, _, talk = await typed(self.home, *words, passphrase=self.passphrase)
        assert ended == status, talk
        return talk


async def _newcomer(folder: Path, before: World) -> Newcomer:
    url, home, passphrase = f"http://127.0.0.1:{free_port()}", folder / "tj-node", folder / "passphrase"
    passphrase.write_bytes(PASSPHRASE.reveal())
    made = Newcomer(home, passphrase, url, before)
    named = ("--origin", TJ, "--nation", "TJ", "--url", url, "--listen", url.removeprefix("http://"))
    await made.node("init", *named)
    (home / "passphrase").write_bytes(PASSPHRASE.reveal())
    nodes = (*before.directory.nodes, ListedNode.from_json(json.loads((home / "card.json").read_bytes())))
    made.world = before.with_directory(**with_the_third(before.directory), nodes=nodes)
    return made


def _handed_out(folder: Path, world: World) -> tuple[list[str], list[str]]:
    """The newest version as its custodians hand it out, as an option; and the files of their signatures."""
    directory, publication = world.directory, world.publication()
    path = folder / f"{directory.version}.json"
    path.write_bytes(publication.body)
    files = []
    for signature in decode_signatures(publication.signatures):
        files.append(folder / f"{directory.version}-{signature.key_id.hex()[:8]}.sig")
        files[-1].write_bytes(write_signature(signature, directory.hash, "custodian"))
    return ["--directory", str(path)], [str(file) for file in files]


async def test_a_ledger_begins_with_every_version_and_its_signatures(tmp_path: Path) -> None:
    """What is left out, or is something else, is named; and nothing is entered."""
    world = world_of_two()
    newcomer = await _newcomer(tmp_path, world)
    (one, of_one), (two, of_two) = _handed_out(tmp_path, world), _handed_out(tmp_path, newcomer.world)
    no_signature = tmp_path / "none.sig"
    no_signature.write_text("{}")
    for words, status, why in (
        ([*one, *of_one, *of_two], 2, "is a signature of another file"),
        ([*one, *two, *of_one], 2, "directory version 2 are needed"),
        ([*one, *two, *of_one, *of_two, str(no_signature)], 2, "none.sig"),
        ([*one, *of_one], 2, "does not list this node"),
        ([*two, *of_two], 2, "begins with version 1"),
        ([*one, *two, *of_one, *of_two[:-1]], 3, "threshold-missing"),
    ):
        assert why in await newcomer.node("init", *words, status=status)
    await newcomer.node("init", *one, *two, *of_one, *of_two)


async def test_a_nation_joins_an_exchange_that_runs(tmp_path: Path) -> None:
    """Its ledger begins with every version of the directory; then it is mirrored and cosigns like any. SPEC 11.9.4."""
    async with live_pair(tmp_path) as pair:
        newcomer = await _newcomer(tmp_path, pair.world)
        (one, of_one), (two, of_two) = _handed_out(tmp_path, pair.world), _handed_out(tmp_path, newcomer.world)
        await newcomer.node("init", *one, *two, *of_one, *of_two)
        pk, cn = pair.nodes["PK"], pair.nodes["CN"]
        await enter(pk, "pk-custodian-1", newcomer.world.publication())
        urls = {PK: pk.config.url, CN: cn.config.url, TJ: newcomer.url}
        for nation in ("PK", "CN"):
            peers = (PeerConfig(origin, urls[origin]) for origin in urls if origin != origin_of(nation))
            save_peers(tmp_path / f"{nation.lower()}-home", tuple(peers))
            await newcomer.node("peer", "add", origin_of(nation), "--url", pair.nodes[nation].config.url)
        world = newcomer.world.with_first_bundle("tj-liaison")
        async with NodeProcess(newcomer.home) as node, Wire(newcomer.url) as wire, Wire(newcomer.url) as reader:
            wire.log_in_as(signing_key("tj-liaison/identity"), world.pin, TJ)
            await post(wire, bundle := world.key_bundle("tj-liaison"))
            await until(lambda: pk.storage.seen(digest_of(bundle)) is not None)
            between = label("Restricted").replace(releasable=("CN", "TJ"))
            bulletin = world.bulletin(to=("cn-liaison", "tj-liaison"), created=now_ms(), label=between)
            receipt = await enter(pk, "pk-liaison/desk", bulletin)
            reader.log_in_as(signing_key("tj-liaison/desk"), world.pin, TJ)
            async with asyncio.timeout(SECONDS_MAX):
                while not (items := await _read(reader, PK, receipt.index)):  # noqa: ASYNC110 - of another process
                    await asyncio.sleep(0.05)
            assert (items[0].body, bool(items[0].wrap)) == (bulletin.body, True)
            await until(lambda: all(is_witnessed(one) for one in pair.nodes.values()))
            assert await node.stop() == 0
        await newcomer.node("fsck")


async def _read(wire: Wire, origin: str, index: int) -> tuple[Item, ...]:
    parts = await wire.deliveries({origin: index}, {})
    return next((part.items for part in parts if part.head.origin == origin), ())
