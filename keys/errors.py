"""The errors of this package.

KeysError
├── BadSignature    a signature, or a key it was made with, does not hold
├── CannotOpen      a wrap or a body does not open with this key under this header
├── WrongPassphrase a keyring does not open
└── CardRefused     a card's proof or form does not hold
"""


class KeysError(Exception):
    """Root of what this package raises, beside protocol's own."""

    code = "keys-error"

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        self.detail = detail


class BadSignature(KeysError):
    """A signature does not hold."""

    code = "bad-signature"


class CannotOpen(KeysError):
    """One error for every reason, to tell a prober nothing."""

    code = "cannot-open"


class WrongPassphrase(KeysError):
    """The keyring stays closed."""

    code = "wrong-passphrase"


class CardRefused(KeysError):
    """The card proves nothing."""

    code = "card-refused"
