"""The node: ledger, admission, deliveries, sessions and HTTP over one storage contract."""
