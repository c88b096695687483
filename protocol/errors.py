"""The errors of this package, and the only ones that any bytes given to a decoder can raise.

ProtocolError
├── Malformed      the bytes or the text are not in the form that SPEC.md gives
├── TooLarge       over a bound of SPEC.md §2 (protocol/limits.py)
└── ProofFailed    a Merkle path, a signature line or a policy does not hold
"""


class ProtocolError(Exception):
    """Root of what this package raises: a stable ``code`` and a sentence for a person."""

    code = "protocol-error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class Malformed(ProtocolError):
    """Not what an encoder of ours would emit."""

    code = "malformed"


class TooLarge(ProtocolError):
    """Over a bound, refused before anything was allocated for it."""

    code = "too-large"


class ProofFailed(ProtocolError):
    """Well formed, and not true."""

    code = "proof-failed"
