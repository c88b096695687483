"""The other end: SDK, and the commands of officers, custodians and auditors."""
