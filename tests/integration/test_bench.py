"""The bench measures what it says it does: what is begun is opened, and what could not run is told, not failed."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree

import pytest

from bench.beside import ALWAYS, OURS, REDIS, rate
from bench.carried import READER, SENDER, Carried, Plan, Sealer, carry, verified_and_opened
from bench.carriers.contract import Carrier, arrived
from bench.carriers.khunjerab import Khunjerab
from bench.carriers.nats import Nats
from bench.messages import bench_world
from bench.plots import distribution, plot
from bench.table import Figure, print_table

COUNT = 40


@pytest.mark.parametrize("in_flight", [1, 32])
@pytest.mark.parametrize("name", [OURS, ALWAYS])
def test_every_bulletin_that_was_begun_is_opened_at_the_other_end(tmp_path: Path, name: str, in_flight: int) -> None:
    world = bench_world()
    carriers: dict[str, Carrier] = {OURS: Khunjerab(world, SENDER, READER), ALWAYS: Nats(always=True)}
    carried = carry(carriers[name], Plan(world, COUNT, in_flight, 1), tmp_path)
    assert len(carried.latencies) == COUNT
    assert min(carried.latencies) > 0


def test_a_reader_of_the_bench_opens_nothing_that_was_altered() -> None:
    id_, submission = Sealer(bench_world(), 1).seal()
    whole = arrived(submission.encode())
    assert verified_and_opened(whole, 1) == id_
    with pytest.raises(AssertionError):
        verified_and_opened(whole._replace(body=whole.body[:-1] + b"?"), 1)


def test_a_peer_that_is_not_installed_has_a_row_that_says_so(capsys: pytest.CaptureFixture[str]) -> None:
    row = rate("end to end", REDIS, {OURS: [Carried(1000, [0.01])]}, 1)
    assert (row.median, row.met) == (None, None)
    print_table([row, Figure("another", [1.0, 3.0, 2.0], must=2.5)])
    printed = capsys.readouterr().out
    assert "not installed" in printed
    assert "2.00" in printed


def test_a_plot_is_xml_with_a_line_for_each_carrier(tmp_path: Path) -> None:
    path = tmp_path / "latency.svg"
    plot(path, "a < b", "ms", "share", {"ours": distribution([0.001, 0.004, 0.002]), "theirs": distribution([0.5])})
    lines = ElementTree.fromstring(path.read_text("utf-8")).iter("{http://www.w3.org/2000/svg}polyline")  # noqa: S314 - our own
    assert [len(line.attrib["points"].split()) for line in lines] == [3, 1]
