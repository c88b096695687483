"""What passes on streams: a reader's credit (SPEC §11.6), answers to submissions (§11.7), and why the node closed."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from protocol import limits
from protocol.canonical import HASH_BYTES, check_count
from protocol.errors import Malformed
from protocol.problem import CODES, Problem
from protocol.record import WireRecord
from protocol.treehead import BareReceipt, Receipt, TreeHead

CREDIT_MESSAGE_BYTES_MAX = 32
_CREDIT = re.compile(rb'\{"credit": ?([1-9][0-9]{0,4})\}')
_AROUND_BYTES_MAX = 128  # numbers and framing of a receipt, without its path and entry
_ANSWERS_BYTES_MAX = limits.MESSAGE_BYTES_MAX - 8 * 1024  # the rest is for the head
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


class Answers(WireRecord):
    """[head, answers]: to submissions in their order, receipts under one head, and problems as JSON text."""

    head: TreeHead | None
    each: tuple[BareReceipt | str, ...]

    def check(self) -> None:
        """SPEC §11.7.3."""
        check_count(self.each, "answers", limits.WINDOW_SUBMISSIONS_MAX, at_least=1)
        receipts = [answer for answer in self.each if isinstance(answer, BareReceipt)]
        if bool(receipts) != (self.head is not None):
            raise Malformed("answers: a head stands where there is a receipt, and nowhere else")
        for inner in (*receipts, *([self.head] if self.head else [])):
            inner.check()


def encode_answers(answers: Iterable[Receipt | Problem]) -> Iterator[bytes]:
    """The messages that bring them, in order: one for all that stand under one head, unless it grew too long."""
    head: TreeHead | None = None
    each: list[BareReceipt | str] = []
    length = 0
    for answer in answers:
        its_head, one = _apart(answer)
        size = _size(one)
        if (head and its_head and head != its_head) or length + size > _ANSWERS_BYTES_MAX:
            yield Answers(head, tuple(each)).encode()
            head, each, length = None, [], 0
        head = head or its_head
        each.append(one)
        length += size
    if each:
        yield Answers(head, tuple(each)).encode()


def _apart(answer: Receipt | Problem) -> tuple[TreeHead | None, BareReceipt | str]:
    if isinstance(answer, Receipt):
        return answer.head, answer.bare
    return None, answer.to_json().decode()


def _size(answer: BareReceipt | str) -> int:
    """At most so many bytes on the wire."""
    if isinstance(answer, str):
        return 4 * len(answer) + _AROUND_BYTES_MAX
    return len(answer.path) * (HASH_BYTES + 2) + len(answer.entry or b"") + _AROUND_BYTES_MAX


def decode_answers(data: bytes) -> list[Receipt | Problem]:
    """Raises Malformed or TooLarge."""
    message = Answers.decode(data, limits.MESSAGE_BYTES_MAX)
    return [
        answer.under(message.head)
        if isinstance(answer, BareReceipt) and message.head is not None
        else Problem.from_json(str(answer).encode())
        for answer in message.each
    ]


def close_code(problem: Problem) -> int:
    """The close code of a stream that ended with ``problem``; the reason is the problem's code."""
    return CLOSED_BY_NODE + problem.status


def problem_of_close(code: int | None, reason: str) -> Problem:
    """Why a node closed a stream. Raises Malformed where it was no node, or did not say."""
    if reason in CODES and code == CLOSED_BY_NODE + CODES[reason][0]:
        return Problem(reason, "the node ended the stream")
    raise Malformed(f"the stream broke off ({code})")
