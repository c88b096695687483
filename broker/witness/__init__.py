"""A witness of ledgers (SPEC §9.7; C2SP tlog-witness): in a node of its peers', by itself of anybody's."""
