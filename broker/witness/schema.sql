-- What this witness has cosigned: of each log the newest tree, and the note with its log's and this witness's lines.
CREATE TABLE cosigned (
    digest BLOB PRIMARY KEY, -- SHA-256 of the origin, by which monitors ask
    origin TEXT NOT NULL,
    size   INTEGER NOT NULL,
    root   BLOB NOT NULL,
    time   INTEGER NOT NULL,
    note   TEXT NOT NULL
) STRICT;

-- Whatever the program does, a row never goes back, never changes its tree at one size, and never goes away.
CREATE TRIGGER never_back BEFORE UPDATE ON cosigned
WHEN NEW.size < OLD.size OR (NEW.size = OLD.size AND NEW.root <> OLD.root) OR NEW.time < OLD.time
    OR NEW.digest <> OLD.digest OR NEW.origin <> OLD.origin
BEGIN SELECT RAISE(ABORT, 'a witness never goes back'); END;
CREATE TRIGGER never_away BEFORE DELETE ON cosigned
BEGIN SELECT RAISE(ABORT, 'a witness never forgets'); END;
