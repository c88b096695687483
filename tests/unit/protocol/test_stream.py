"""protocol/stream.py: what a message of answers has in it, and where the next one begins."""

import pytest

from protocol import limits
from protocol.errors import Malformed, TooLarge
from protocol.problem import Problem
from protocol.signing import Signature
from protocol.stream import Answers, decode_answers, encode_answers
from protocol.treehead import Receipt, TreeHead
from tests.support.altering import replace

H = bytes(range(32))
ROOT = b"r" * 32
HEAD = TreeHead(H, "pk.khunjerab.test/ledger", 9, ROOT, 6, Signature(H, b"e" * 64))
LATER = replace(HEAD, size=10)
RECEIPT = Receipt(7, 5, None, (H, H), HEAD)
REFUSED = Problem("expired", "it has ended", {"step": 3})
Answer = Receipt | Problem


def _messages(*answers: Answer) -> list[list[str]]:
    """What each message has, in letters: a receipt by the size of its head, a problem by its code."""
    return [[_letter(answer) for answer in decode_answers(message)] for message in encode_answers(answers)]


def _letter(answer: Answer) -> str:
    return str(answer.head.size) if isinstance(answer, Receipt) else answer.code


def test_receipts_under_one_head_and_the_problems_among_them_are_one_message() -> None:
    """Its head is there once. SPEC 11.7.3."""
    answers: list[Answer] = [RECEIPT, REFUSED, replace(RECEIPT, index=8, entry=b"first")]
    (message,) = encode_answers(answers)
    assert message.count(ROOT) == 1
    first, refused, second = decode_answers(message)
    assert [first, second] == [answers[0], answers[2]]
    assert isinstance(refused, Problem)
    assert (refused.code, refused.detail, refused.extra) == ("expired", "it has ended", {"step": 3})


def test_another_head_begins_another_message() -> None:
    """Problems go with what came before. SPEC 11.7.3."""
    later = replace(RECEIPT, head=LATER)
    assert _messages(REFUSED, RECEIPT, REFUSED, later, RECEIPT) == [["expired", "9", "expired"], ["10"], ["9"]]
    assert _messages(REFUSED) == [["expired"]]
    assert _messages() == []


def test_no_message_is_longer_than_one_may_be() -> None:
    """Whatever is in it: a window of the longest receipts goes in several, in order. SPEC 2.1.1, 11.7.2."""
    longest = replace(RECEIPT, path=(H,) * limits.PROOF_HASHES_MAX, entry=bytes(limits.ENTRY_BYTES_MAX))
    answers = [replace(longest, index=index) for index in range(limits.WINDOW_SUBMISSIONS_MAX)]
    messages = list(encode_answers(answers))
    assert all(len(message) <= limits.MESSAGE_BYTES_MAX for message in messages)
    assert len(messages) == 18
    assert [answer for message in messages for answer in decode_answers(message)] == answers
    with pytest.raises(TooLarge):
        decode_answers(bytes(limits.MESSAGE_BYTES_MAX + 1))


def test_a_problem_that_is_none_is_refused() -> None:
    """SPEC 13.1.3."""
    with pytest.raises(Malformed):
        decode_answers(Answers(None, ('{"code": "no such"}',)).encode())
