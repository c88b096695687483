"""What passes on a stream of deliveries besides pages (SPEC §11.6): credit from the reader, and why the node closed."""

from __future__ import annotations

import re

from protocol import limits
from protocol.errors import Malformed
from protocol.problem import CODES, Problem

CREDIT_MESSAGE_BYTES_MAX = 32
_CREDIT = re.compile(rb'\{"credit": ?([1-9][0-9]{0,4})\}')
CLOSED_BY_NODE = 4000  # and the status of a problem, whose code is the reason


def format_credit(entries: int) -> str:
    """The text message that lets the node send ``entries`` more."""
    return f'{{"credit": {entries}}}'


def parse_credit(data: bytes) -> int:
    """How many entries more the reader takes. Raises Malformed."""
    match = _CREDIT.fullmatch(data)
    if not match or int(match[1]) > limits.CREDIT_ENTRIES_MAX:
        raise Malformed(f'credit is {{"credit": N}}, of 1 to {limits.CREDIT_ENTRIES_MAX} entries')
    return int(match[1])


def close_code(problem: Problem) -> int:
    """The close code of a stream that ended with ``problem``; the reason is the problem's code."""
    return CLOSED_BY_NODE + problem.status


def problem_of_close(code: int | None, reason: str) -> Problem:
    """Why a node closed a stream. Raises Malformed where it was no node, or did not say."""
    if reason in CODES and code == CLOSED_BY_NODE + CODES[reason][0]:
        return Problem(reason, "the node ended the stream")
    raise Malformed(f"the stream broke off ({code})")
