"""The errors of the clients, each with its exit status (docs/errors.md).

ClientError            1  root
├── UsageError         2  what was typed cannot be done
├── Declined           3  refused by a node, by policy, or at a prompt
├── Unreachable        4  the node does not answer
│   └── UpgradeRefused    nor passes what is between here and it a WebSocket
└── Tampering          5  verification failed: nothing else has this status
"""

_CALL_AUDITOR = "keep this home as it is and call your auditor"


class ClientError(Exception):
    """One line for a person: what was wrong; ``hint`` says what to do.

    ``unsent`` says that not a byte of what was to be sent had left: whatever it was did not happen there.
    """

    status = 1
    unsent = False

    def __init__(self, detail: str, hint: str = "") -> None:
        super().__init__(detail)
        self.detail, self.hint = detail, hint


class UsageError(ClientError):
    """What was typed, or the home, does not allow it."""

    status = 2


class Declined(ClientError):
    """A refusal, with the code of the problem where a node gave one."""

    status = 3

    def __init__(self, detail: str, hint: str = "", code: str = "declined") -> None:
        super().__init__(detail, hint)
        self.code = code


class Unreachable(ClientError):
    """No answer, or none in time: whether something happened there is unknown."""

    status = 4


class UpgradeRefused(Unreachable):
    """What stands between here and the node passes no WebSocket: poll instead."""


class Tampering(ClientError):
    """A proof, a signature or a count does not hold. ``check`` names it; ``origin`` and ``index`` say where."""

    status = 5

    def __init__(
        self, check: str, detail: str, origin: str = "", index: int | None = None, *, hint: str = _CALL_AUDITOR
    ) -> None:
        super().__init__(f"{check}: {detail}", hint)
        self.check, self.origin, self.index = check, origin, index
