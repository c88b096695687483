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

CREATE TABLE wrap (
    idx         INTEGER NOT NULL,
    seat_key_id BLOB NOT NULL,
    data        BLOB NOT NULL,
    PRIMARY KEY (idx, seat_key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE body (
    idx    INTEGER PRIMARY KEY,
    sha256 BLOB NOT NULL,
    data   BLOB
) STRICT;
CREATE INDEX body_by_hash ON body (sha256);

CREATE TABLE acknowledged (
    origin TEXT NOT NULL,
    target INTEGER NOT NULL,
    agency TEXT NOT NULL,
    state  TEXT NOT NULL,
    time   INTEGER NOT NULL,
    PRIMARY KEY (origin, target, agency, state)
) STRICT, WITHOUT ROWID;

CREATE TABLE tile (
    level INTEGER NOT NULL,
    idx   INTEGER NOT NULL,
    data  BLOB NOT NULL,
    root  BLOB NOT NULL,
    PRIMARY KEY (level, idx)
) STRICT, WITHOUT ROWID;

-- Roots made durable before they are signed, and the notes that were signed; note is empty in between.
CREATE TABLE checkpoint (
    size INTEGER PRIMARY KEY,
    root BLOB NOT NULL,
    note TEXT NOT NULL
) STRICT;
