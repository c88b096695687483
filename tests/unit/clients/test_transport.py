"""clients/transport.py: a node is not trusted to answer, nor to answer in any form."""

from __future__ import annotations

import json
from typing import Any

import pytest

from clients.errors import Declined, Unreachable
from clients.http import Answer, Request
from clients.transport import Wire
from keys.secret import Secret
from keys.signing import SigningKey
from protocol import canonical
from protocol.entry import Submission
from protocol.statements import Kind

SUBMISSION = Submission(Kind.SUSPENSION, b"statement", b"signatures")
SESSION = json.dumps({"token": "t", "expires": 2**45}).encode()


def answering(**bodies: bytes) -> Wire:
    """A wire to a node that opens a session with ``session``, and answers all else with ``rest``."""

    async def request(asked: Request) -> Answer:
        return Answer(200, bodies["session" if asked.target == "/v1/session" else "rest"])

    wire: Any = Wire("http://127.0.0.1:9")
    wire._http = type("Answering", (), {"request": staticmethod(request)})
    wire.log_in_as(SigningKey(Secret(bytes(64))), bytes(32), "pk.khunjerab.test/ledger")
    return wire  # type: ignore[no-any-return]


@pytest.mark.parametrize("session", [b"", b"<html>", b"[]", b"{}", b'{"token": 1, "expires": 2}', b'{"token": "t"}'])
async def test_what_is_no_session_is_told(session: bytes) -> None:
    with pytest.raises(Declined, match="the node's answer is no"):
        await answering(session=session).session()


@pytest.mark.parametrize("rest", [b"", b"<html>", canonical.encode(5), canonical.encode(["no problem"])])
async def test_what_no_node_answers_is_as_if_it_did_not(rest: bytes) -> None:
    """What was posted stays in the outbox, and what is known here must do."""
    wire = answering(session=SESSION, rest=rest)
    for asked in (wire.post([SUBMISSION]), wire.deliveries({}, {}), wire.body(bytes(32))):
        with pytest.raises(Unreachable, match=r"answers what is no (receipt|page|body)"):
            await asked


@pytest.mark.parametrize("answers", [0, 2])
async def test_a_node_that_answers_more_or_less_than_was_posted_has_not_answered(answers: int) -> None:
    refused = json.dumps({"type": "about:blank", "title": "t", "status": 400, "code": "malformed", "detail": "d"})
    wire = answering(session=SESSION, rest=canonical.encode([refused] * answers))
    with pytest.raises(Unreachable, match=f"{answers} answers to 1"):
        await wire.post([SUBMISSION])
