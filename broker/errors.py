"""The errors of the node.

BrokerError
├── StorageError    the store could not do it; nothing of it is there
├── StorageUnsure   the store failed and may have done it: reload before the next append
├── LedgerBroken    what is stored is not what this node signed: it signs nothing more
└── NodeHomeError   a node's home is missing or not whole
"""


class BrokerError(Exception):
    """Root of what this package raises."""

    code = "broker-error"


class StorageError(BrokerError):
    """Nothing of the operation is there: disk full, I/O error, locked."""

    code = "storage-unavailable"


class StorageUnsure(BrokerError):
    """The operation failed and may have happened: only reading again tells."""

    code = "storage-unavailable"


class LedgerBroken(BrokerError):
    """Stored entries, recorded roots and checkpoints do not agree."""

    code = "ledger-broken"


class NodeHomeError(BrokerError):
    """A node's home is missing, or already there, or not whole."""

    code = "node-home"
