-- One ledger (SPEC §9) and what lies beside it. Every table is STRICT; indexes of entries begin at 0.
CREATE TABLE entry (
    idx    INTEGER PRIMARY KEY,
    kind   INTEGER NOT NULL,
    data   BLOB NOT NULL,
    leaf   BLOB NOT NULL
) STRICT;
CREATE INDEX governance ON entry (idx) WHERE kind >= 3;

-- By what an entry is found again: bulletins by sender and id, all else by the statement's hash.
CREATE TABLE bulletin (
    sender TEXT NOT NULL,
    id     BLOB NOT NULL,
    idx    INTEGER NOT NULL,
    digest BLOB NOT NULL,
    PRIMARY KEY (sender, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE statement (
    digest BLOB PRIMARY KEY,
    idx    INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

-- For whom an entry is; the empty agency is everyone.
CREATE TABLE delivery (
    agency TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    PRIMARY KEY (agency, idx)
) STRICT, WITHOUT ROWID;

-- A body with all its wraps, each after the key id of the seat it is for; both are NULL where they were expunged, or are
-- missing from a restored ledger or a mirror. A directory's JSON has no wraps and never expires.
CREATE TABLE body (
    idx     INTEGER PRIMARY KEY,
    sha256  BLOB NOT NULL,
    expires INTEGER,
    wraps   BLOB,
    data    BLOB
) STRICT;
-- Hashes fall anywhere: in parts of 4,096 entries new ones dirty the few pages of the last part, however large the ledger.
-- A lookup asks part after part: 0.7 ms in a million.
CREATE INDEX body_by_hash ON body (idx >> 12, sha256) WHERE expires IS NOT NULL;
CREATE INDEX directory_by_hash ON body (sha256) WHERE expires IS NULL;
CREATE INDEX body_by_end ON body (expires) WHERE expires IS NOT NULL AND data IS NOT NULL;

CREATE TABLE acknowledged (
    origin    TEXT NOT NULL,
    target    INTEGER NOT NULL,
    leaf      BLOB NOT NULL,
    agency    TEXT NOT NULL,
    addressee TEXT NOT NULL,
    state     TEXT NOT NULL,
    time      INTEGER NOT NULL,
    PRIMARY KEY (origin, target, leaf, agency, addressee, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE tile (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    data  BLOB NOT NULL,
    root  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Roots made durable before they are signed, and the notes that were signed; note is empty in between, and for a larger
-- checkpoint of this ledger that somebody else has shown. head is the signed tree head of the same size.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note TEXT NOT NULL,
    head BLOB NOT NULL
) STRICT;

-- At most one row: why this ledger must sign nothing.
CREATE TABLE halt (
    one    INTEGER PRIMARY KEY CHECK (one = 1),
    reason TEXT NOT NULL,
    note   TEXT NOT NULL
) STRICT;
