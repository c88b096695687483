-- What a seat knows (docs/officer.md). Columns named `sealed` hold secretbox under the keyring's store key.
CREATE TABLE ledger (              -- a ledger as far as it is verified; the cursor is `next`
    origin     TEXT PRIMARY KEY,
    size       INTEGER NOT NULL,
    root       BLOB NOT NULL,
    next       INTEGER NOT NULL,
    checkpoint TEXT NOT NULL,
    time       INTEGER NOT NULL,   -- admission time of the last entry seen
    witnessed  TEXT NOT NULL       -- the newest checkpoint that was witnessed as the policy asks
) STRICT;
CREATE TABLE governance (
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    entry  BLOB NOT NULL,
    body   BLOB,
    PRIMARY KEY (origin, idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE bulletin (            -- received or sent by this agency
    arrival INTEGER PRIMARY KEY AUTOINCREMENT,
    origin  TEXT NOT NULL,
    idx     INTEGER NOT NULL,
    sender  TEXT NOT NULL,
    id      BLOB NOT NULL,
    key_id  BLOB NOT NULL,
    feed    TEXT NOT NULL,
    nth     INTEGER NOT NULL,      -- of its key and feed here: 1 for the first
    own     INTEGER NOT NULL,      -- 1 where this agency sent it
    logged  INTEGER NOT NULL,      -- admission time
    expires INTEGER NOT NULL,
    entry   BLOB NOT NULL,
    leaf    BLOB NOT NULL,
    sealed  BLOB,                  -- the content, once opened
    problem TEXT NOT NULL,         -- why it is not open: withheld, expunged, cannot-open, body-missing
    UNIQUE (origin, idx)
) STRICT;
CREATE INDEX bulletin_by_id ON bulletin (sender, id);
CREATE INDEX bulletin_by_key ON bulletin (origin, key_id, feed, idx);
CREATE TABLE relation (            -- what one bulletin says it does to another; the rule is checked by the reader
    origin    TEXT NOT NULL,       -- of the target
    target    INTEGER NOT NULL,
    leaf      BLOB NOT NULL,
    kind      TEXT NOT NULL,
    by_origin TEXT NOT NULL,
    by_idx    INTEGER NOT NULL,
    PRIMARY KEY (origin, target, kind, by_origin, by_idx)
) STRICT, WITHOUT ROWID;
CREATE TABLE acknowledged (        -- what others, or this agency, said of a bulletin; the rule is checked by the reader
    origin    TEXT NOT NULL,
    target    INTEGER NOT NULL,
    leaf      BLOB NOT NULL,
    agency    TEXT NOT NULL,       -- whose word it is
    addressee TEXT NOT NULL,       -- to whom: the sender of the bulletin, else it counts for nothing
    state     TEXT NOT NULL,
    time      INTEGER NOT NULL,
    at_origin TEXT,                -- the entry that says so; nil until it has come back
    at_idx    INTEGER,
    PRIMARY KEY (origin, target, leaf, agency, addressee, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE signed (              -- by a custodian, and handed out: of two of one number the first posted stands
    chain    TEXT NOT NULL,        -- directory, or an agency and its identity key
    number   INTEGER NOT NULL,
    previous BLOB NOT NULL,
    digest   BLOB NOT NULL,
    time     INTEGER NOT NULL,
    PRIMARY KEY (chain, number, digest)
) STRICT, WITHOUT ROWID;
CREATE TABLE owed (                -- acknowledgements that are to be sent
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    state  TEXT NOT NULL,
    time   INTEGER NOT NULL,
    PRIMARY KEY (origin, idx, state)
) STRICT, WITHOUT ROWID;
CREATE TABLE outbox (
    id       BLOB PRIMARY KEY,
    created  INTEGER NOT NULL,
    urgency  INTEGER NOT NULL,     -- the place of its precedence: a flash is sent before what is routine
    sealed   BLOB NOT NULL,        -- the draft
    envelope BLOB,                 -- sealed bytes once an attempt was made: the same go again
    receipt  BLOB,
    state    TEXT NOT NULL,        -- draft, tried, receipted, published, refused, expired
    problem  TEXT NOT NULL
) STRICT;
CREATE TABLE promised (            -- statements but bulletins that were posted, until they are in a witnessed checkpoint
    statement BLOB PRIMARY KEY,    -- its SHA-256
    sealed    BLOB NOT NULL,       -- as it was posted
    receipt   BLOB NOT NULL
) STRICT;
CREATE TABLE sent (                -- receipts held, by what a wrap counts
    recipient TEXT NOT NULL,
    origin    TEXT NOT NULL,
    feed      TEXT NOT NULL,
    key_id    BLOB NOT NULL,
    id        BLOB NOT NULL,
    PRIMARY KEY (recipient, origin, feed, key_id, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE sent_count (          -- how many of them: a wrap is not sealed by counting all that went before
    recipient TEXT NOT NULL,
    origin    TEXT NOT NULL,
    feed      TEXT NOT NULL,
    key_id    BLOB NOT NULL,
    count     INTEGER NOT NULL,
    PRIMARY KEY (recipient, origin, feed, key_id)
) STRICT, WITHOUT ROWID;
CREATE TRIGGER sent_more AFTER INSERT ON sent BEGIN
    INSERT INTO sent_count VALUES (new.recipient, new.origin, new.feed, new.key_id, 1)
    ON CONFLICT DO UPDATE SET count = count + 1;
END;
CREATE TRIGGER sent_less AFTER DELETE ON sent BEGIN
    UPDATE sent_count SET count = count - 1
    WHERE recipient = old.recipient AND origin = old.origin AND feed = old.feed AND key_id = old.key_id;
END;
CREATE TABLE handed (              -- what `follow` handed over, once for (sender, id) across origins
    consumer TEXT NOT NULL,        -- print, or exec
    sender   TEXT NOT NULL,
    id       BLOB NOT NULL,
    tries    INTEGER NOT NULL,
    state    TEXT NOT NULL,        -- trying, done, failed, again
    PRIMARY KEY (consumer, sender, id)
) STRICT, WITHOUT ROWID;
CREATE TABLE told (                -- events that `follow` told, each once: late, overdue
    name   TEXT NOT NULL,
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    agency TEXT NOT NULL,
    PRIMARY KEY (name, origin, idx, agency)
) STRICT, WITHOUT ROWID;
CREATE TABLE alarm (
    time   INTEGER NOT NULL,
    name   TEXT NOT NULL,          -- the check that failed
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,       -- -1 where it is about no entry
    detail TEXT NOT NULL,
    PRIMARY KEY (name, origin, idx, detail)
) STRICT;
CREATE TABLE evidence (            -- what contradicts what a node signed: kept for the auditor
    time   INTEGER NOT NULL,
    origin TEXT NOT NULL,
    idx    INTEGER NOT NULL,
    kind   TEXT NOT NULL,          -- receipt, entry, page
    data   BLOB NOT NULL
) STRICT;
