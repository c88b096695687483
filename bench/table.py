"""What a bench came to: a ratio with its spread, what it must reach and aims at."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

from rich.console import Console
from rich.table import Table


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: a ratio of each round, against a floor of the same round; more is better unless ``at_most``."""

    name: str
    ratios: Sequence[float]
    must: float
    aim: float
    at_most: bool = False
    detail: dict[str, float] = field(default_factory=dict)

    @property
    def median(self) -> float:
        """The figure to quote."""
        return statistics.median(self.ratios)

    @property
    def met(self) -> bool:
        """Whether the median reaches what it must."""
        return self.median <= self.must if self.at_most else self.median >= self.must

    def to_json(self) -> dict[str, Any]:
        """For the results file."""
        return {**asdict(self), "median": self.median, "met": self.met}


def print_table(figures: Sequence[Figure]) -> None:
    """Must, aim and reached."""
    table = Table("figure", "must", "aim", "reached", "spread", "detail", title="Khunjerab, ratios of one run")
    for figure in figures:
        sign = "≤" if figure.at_most else "≥"
        detail = ", ".join(f"{name} {value:,.6g}" for name, value in figure.detail.items())
        table.add_row(
            figure.name,
            f"{sign} {figure.must:g}",
            f"{sign} {figure.aim:g}",
            f"[{'green' if figure.met else 'red'}]{figure.median:.2f}[/]",
            f"{min(figure.ratios):.2f}–{max(figure.ratios):.2f}",
            detail,
        )
    Console().print(table)
