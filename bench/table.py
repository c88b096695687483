"""What a bench came to: a figure of each round, its median and spread, what it must reach and aims at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from rich.console import Console
from rich.table import Table

WIDTH = 160  # where it goes to a file


@dataclass(frozen=True, slots=True)
class Figure:
    """One row, of a figure a round; more is better unless ``at_most``. A row without ``must`` is only told."""

    name: str
    ratios: Sequence[float]
    must: float | None = None
    aim: float | None = None
    at_most: bool = False
    unit: str = ""  # where it is no ratio
    detail: dict[str, float] = field(default_factory=dict)
    absent: str = ""  # why there is no figure

    @property
    def median(self) -> float | None:
        """The figure to quote."""
        return statistics.median(self.ratios) if self.ratios else None

    @property
    def met(self) -> bool | None:
        """Whether the median reaches what it must; None where nothing was asked or nothing measured."""
        median = self.median
        if median is None or self.must is None:
            return None
        return median <= self.must if self.at_most else median >= self.must

    def only_told(self) -> Figure:
        """The same, of which nothing is asked."""
        return replace(self, must=None, aim=None)

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "median": self.median, "met": self.met}

    def cells(self) -> tuple[str, ...]:
        """Must, aim, reached, spread, detail, as they are read."""
        sign = "≤" if self.at_most else "≥"
        must, aim = ("" if value is None else f"{sign} {value:g}" for value in (self.must, self.aim))
        if self.median is None:
            return must, aim, self.absent, "", ""
        colour = {True: "green", False: "red", None: "default"}[self.met]
        detail = ", ".join(f"{name} {value:,.6g}" for name, value in self.detail.items())
        spread = f"{_short(min(self.ratios))}–{_short(max(self.ratios))}"
        return must, aim, f"[{colour}]{_short(self.median)}{self.unit}[/]", spread, detail


def _short(value: float) -> str:
    return f"{value:.2f}" if value < 100 else f"{value:,.0f}"  # noqa: PLR2004 - three digits either way


def print_table(figures: Sequence[Figure]) -> None:
    """Must, aim and reached."""
    table = Table("figure", "must", "aim", "reached", "spread", "detail", title="Khunjerab, ratios of one run")
    for figure in figures:
        table.add_row(figure.name, *figure.cells())
    console = Console()
    if not console.is_terminal:
        console.width = WIDTH
    console.print(table)
