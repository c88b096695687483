-- What a seat knows (SPEC §13.4). Columns named `sealed` hold secretbox under the keyring's store key.
CREATE TABLE ledger (              -- a ledger as far as it is verified; the cursor is `next`
    origin     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    next       INTEGER NOT NULL,
    checkpoint TEXT NOT NULL
) STRICT;
CREATE TABLE governance (
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    entry  BLOB NOT NULL,
    body   BLOB,
    PRIMARY KEY (origin, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE bulletin (            -- received or sent by this agency
    origin   TEXT NOT NULL,
    idx      INTEGER NOT NULL,
    sender   TEXT NOT NULL,
    id       BLOB NOT NULL,
    key_id   BLOB NOT NULL,
    feed     TEXT NOT NULL,
    entry    BLOB NOT NULL,
    leaf     BLOB NOT NULL,
    sealed   BLOB,                 -- the content, once opened
    problem  TEXT NOT NULL,        -- why it is not open: withheld, expunged, cannot-open, body-missing
    state    TEXT NOT NULL,        -- of this reader: new, received, read, acted; sent for its own
    handed   INTEGER NOT NULL,     -- 0 until `follow` or `inbox` handed it over
    relation TEXT NOT NULL,        -- superseded or cancelled, by whom: SENDER/UUID
    PRIMARY KEY (origin, idx)
) STRICT, WITHOUT ROWID;
CREATE INDEX bulletin_by_id ON bulletin (sender, id);
CREATE INDEX bulletin_by_key ON bulletin (origin, key_id, feed, idx);
CREATE TABLE acknowledged (        -- what others, or this agency, said of a bulletin
    origin TEXT NOT NULL,
    target INTEGER NOT NULL,
    agency TEXT NOT NULL,
    state  TEXT NOT NULL,
    time   INTEGER NOT NULL,
    PRIMARY KEY (origin, target, agency, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE owed (                -- acknowledgements that are to be sent
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    state  TEXT NOT NULL,
    time   INTEGER NOT NULL,
    PRIMARY KEY (origin, idx, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    id        BLOB PRIMARY KEY,
    created   INTEGER NOT NULL,
    sealed    BLOB NOT NULL,       -- the draft
    envelope  BLOB,                -- sealed bytes once an attempt was made: the same go again
    receipt   BLOB,
    state     TEXT NOT NULL,       -- draft, tried, receipted, witnessed, refused, expired
    problem   TEXT NOT NULL
) STRICT;
CREATE TABLE sent (                -- receipts held, by what a wrap counts
    recipient TEXT NOT NULL,
    origin    TEXT NOT NULL,
    feed      TEXT NOT NULL,
    key_id    BLOB NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (recipient, origin, feed, key_id)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm (
    time   INTEGER NOT NULL,
    name   TEXT NOT NULL,          -- the check that failed
    origin TEXT NOT NULL,
    idx    INTEGER,
    detail TEXT NOT NULL
) STRICT;
