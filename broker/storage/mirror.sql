-- What a mirrored ledger has beside the tables of schema.sql.

-- Entries that break a rule, each by its first: never delivered, for ever told. One with an effect broke a rule of time
-- that hangs on this node's own view; one without was refused by the judge, and does not exist for those after it.
CREATE TABLE flag (
    idx    INTEGER PRIMARY KEY,
    name   TEXT NOT NULL,
    step   INTEGER,
    detail TEXT NOT NULL,
    effect INTEGER NOT NULL
) STRICT;

-- Bulletins for agencies at home here whose body or wraps did not come with them: asked for again from time to time.
CREATE TABLE lacking (
    idx INTEGER PRIMARY KEY
) STRICT;

-- One row once something is mirrored: the newest tree head that was derived here too, and the latest time of any entry.
CREATE TABLE mirrored (
    one  INTEGER PRIMARY KEY CHECK (one = 1),
    head BLOB NOT NULL,
    time INTEGER NOT NULL
) STRICT;
