"""Plots as SVG: a few lines instead of a library."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path

Line = Sequence[tuple[float, float]]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 760, 420, 70, 190, 40, 50
COLOURS = ("#00695c", "#c62828", "#1565c0", "#ef6c00", "#6a1b9a")
TICKS = 5


def plot(path: Path, title: str, x: str, y: str, lines: Mapping[str, Line]) -> None:
    """Lines over a logarithmic x, from zero up."""
    xs = [math.log10(point[0]) for line in lines.values() for point in line]
    top = max(point[1] for line in lines.values() for point in line) * 1.05
    low, high = min(xs), max(xs)

    def place(point: tuple[float, float]) -> tuple[float, float]:
        share = (math.log10(point[0]) - low) / ((high - low) or 1)
        return LEFT + share * (WIDTH - LEFT - RIGHT), HEIGHT - BOTTOM - point[1] / top * (HEIGHT - TOP - BOTTOM)

    parts = [
        _text(LEFT, 22, title, "start"),
        _text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 10, x),
        _text(LEFT, 36, y, "end"),
    ]
    for tick in range(TICKS + 1):
        value = top * tick / TICKS
        _, height = place((10**low, value))
        parts += [_rule(LEFT, height, WIDTH - RIGHT, height), _text(LEFT - 6, height + 4, f"{value:,.3g}", "end")]
    for power in range(math.ceil(low - 1e-9), math.floor(high + 1e-9) + 1):
        across, _ = place((10**power, 0))
        parts += [_rule(across, TOP, across, HEIGHT - BOTTOM), _text(across, HEIGHT - BOTTOM + 18, f"{10**power:,g}")]
    for (name, line), colour, height in zip(lines.items(), COLOURS, range(60, HEIGHT, 22), strict=False):
        points = " ".join(f"{across:.1f},{down:.1f}" for across, down in map(place, line))
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(_text(WIDTH - RIGHT + 12, height, name, "start", colour))
    path.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{"".join(parts)}</svg>\n',
        "utf-8",
    )


def distribution(seconds: Sequence[float]) -> Line:
    """Milliseconds, and the share of all that took no longer."""
    ordered = sorted(seconds)
    step = max(1, len(ordered) // 200)
    return [(ordered[at] * 1e3, (at + 1) / len(ordered)) for at in range(0, len(ordered), step)]


def _text(x: float, y: float, text: str, anchor: str = "middle", colour: str = "#333") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _rule(x1: float, y1: float, x2: float, y2: float) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="#ddd"/>'
