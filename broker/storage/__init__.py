"""Where a node keeps its ledger: the contract, and SQLite behind it."""
