"""Who may say what: key pairs, sealing and opening, the keyring at rest, the directory, and the one judge."""
