//! The relay's tables, and what SQLite's values are in the types of this program.

use manzana_store::sqlite::Schema;

/// "MzRl": tells a relay's database from a device's.
const APPLICATION_ID: i32 = 0x4D7A_526C;

/// Schema of the relay's database. Migrations are only ever added.
pub(super) const SCHEMA: Schema = Schema {
    application_id: APPLICATION_ID,
    migrations: &[FIRST, HELD, RECOVERY, JOURNAL, CLOSING],
};

// A document's creation place is its row number: immutable, dense, in the order of fills and lists.
const FIRST: &str = "
CREATE TABLE city (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    epoch INTEGER NOT NULL,
    head INTEGER NOT NULL,
    next_folio INTEGER NOT NULL,
    floor INTEGER NOT NULL DEFAULT 0 -- places of scope_log up to here are forgotten
) STRICT;
CREATE TABLE settings (name TEXT PRIMARY KEY, value BLOB NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE log (
    seq INTEGER PRIMARY KEY,
    doc BLOB NOT NULL,
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hash BLOB NOT NULL,
    change BLOB NOT NULL,
    folio INTEGER,
    time INTEGER NOT NULL
) STRICT;
CREATE INDEX log_doc ON log (doc);
-- seq is NULL for hashes that will never be in the log.
CREATE TABLE fates (hash BLOB PRIMARY KEY, seq INTEGER) STRICT, WITHOUT ROWID;
CREATE TABLE actors (
    actor BLOB PRIMARY KEY,
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE docs (
    creation_seq INTEGER PRIMARY KEY,
    doc BLOB NOT NULL UNIQUE,
    kind INTEGER NOT NULL,
    last_seq INTEGER NOT NULL,
    folio INTEGER UNIQUE,
    status INTEGER, -- NULL for what is not a petition
    agency INTEGER, -- the first of those it is with
    neighborhood INTEGER,
    captured_at INTEGER NOT NULL, -- by its author's clock, milliseconds UTC
    masked_name TEXT,
    version BLOB NOT NULL, -- of its heads, before the summary so that reading it reads no further
    summary BLOB NOT NULL
) STRICT;
CREATE INDEX docs_last ON docs (last_seq);
CREATE INDEX docs_status ON docs (status) WHERE status IS NOT NULL;
CREATE INDEX docs_report ON docs (agency, status, captured_at) WHERE status IS NOT NULL;
CREATE INDEX docs_neighborhood ON docs (neighborhood) WHERE neighborhood IS NOT NULL;
CREATE INDEX docs_catalogs ON docs (creation_seq) WHERE kind = 1;
-- Apart, so that lists never touch the pages of the documents themselves.
CREATE TABLE doc_bytes (creation_seq INTEGER PRIMARY KEY, saved BLOB NOT NULL) STRICT;
CREATE VIRTUAL TABLE search USING fts5 (
    folio, provisional, subject, location, neighborhood, name,
    content = '', contentless_delete = 1,
    tokenize = 'unicode61 remove_diacritics 2', prefix = '2 3'
);
-- The words of subjects, places and names as the index has them, for searches that forgive.
CREATE TABLE words (word TEXT PRIMARY KEY, letters INTEGER NOT NULL) STRICT, WITHOUT ROWID;

CREATE TABLE scope_log (
    scope TEXT NOT NULL,
    seq INTEGER NOT NULL,
    move INTEGER NOT NULL,
    PRIMARY KEY (scope, seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE scope_docs (
    scope TEXT NOT NULL,
    creation_seq INTEGER NOT NULL,
    PRIMARY KEY (scope, creation_seq)
) STRICT, WITHOUT ROWID;
CREATE TABLE digests (scope TEXT PRIMARY KEY, state BLOB NOT NULL) STRICT;

CREATE TABLE chains (
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    have INTEGER NOT NULL,
    hash BLOB NOT NULL,
    PRIMARY KEY (device, incarnation)
) STRICT, WITHOUT ROWID;
CREATE TABLE envelopes (
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hash BLOB NOT NULL,
    bytes BLOB NOT NULL,
    answers BLOB NOT NULL,
    PRIMARY KEY (device, incarnation, n)
) STRICT;
CREATE TABLE answers (
    device BLOB NOT NULL,
    no INTEGER NOT NULL,
    answer BLOB NOT NULL,
    PRIMARY KEY (device, no)
) STRICT, WITHOUT ROWID;
-- Numbers go on after the answers themselves are forgotten.
CREATE TABLE answer_counters (device BLOB PRIMARY KEY, last INTEGER NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE waiting (
    dep BLOB NOT NULL,
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    PRIMARY KEY (dep, device, incarnation, n, grp)
) STRICT, WITHOUT ROWID;
CREATE INDEX waiting_device ON waiting (device, incarnation, n, grp);
CREATE TABLE quarantine (
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    time INTEGER NOT NULL,
    detail TEXT NOT NULL,
    PRIMARY KEY (device, incarnation, n, grp)
) STRICT;
-- live: its envelope has an accepted change of the part's document.
CREATE TABLE parts (
    id INTEGER PRIMARY KEY,
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    hash BLOB NOT NULL,
    doc BLOB NOT NULL,
    kind INTEGER NOT NULL,
    bytes BLOB NOT NULL,
    masked_name TEXT,
    live INTEGER NOT NULL DEFAULT 0,
    UNIQUE (device, incarnation, n, hash)
) STRICT;
CREATE INDEX parts_doc ON parts (doc, kind) WHERE live = 1;

CREATE TABLE devices (
    device BLOB PRIMARY KEY,
    tag BLOB NOT NULL UNIQUE,
    key BLOB NOT NULL,
    user INTEGER NOT NULL,
    grant_body BLOB NOT NULL,
    grant_signature BLOB NOT NULL,
    grant_id BLOB NOT NULL,
    revoked_at INTEGER,
    desk_seed BLOB
) STRICT;
-- Where each device said that it stood in the log, and when: what it needs of scope_log is kept.
CREATE TABLE places (
    device BLOB PRIMARY KEY,
    seq INTEGER NOT NULL,
    at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX devices_desk ON devices (user) WHERE desk_seed IS NOT NULL;
CREATE TABLE invites (
    code_hash BLOB PRIMARY KEY,
    user INTEGER NOT NULL,
    scopes BLOB NOT NULL,
    block INTEGER,
    expires INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE users (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    name TEXT NOT NULL UNIQUE,
    display TEXT NOT NULL,
    role TEXT NOT NULL,
    password_hash TEXT,
    disabled INTEGER NOT NULL
) STRICT;
CREATE TABLE sessions (
    token_hash BLOB PRIMARY KEY,
    user INTEGER NOT NULL,
    csrf TEXT NOT NULL,
    used_at INTEGER NOT NULL
) STRICT, WITHOUT ROWID;
CREATE TABLE act_keys (
    user INTEGER NOT NULL,
    key TEXT NOT NULL,
    record BLOB NOT NULL,
    PRIMARY KEY (user, key)
) STRICT, WITHOUT ROWID;
";

// What was in quarantine, and what is held since its grant had been revoked or had expired.
const HELD: &str = "
CREATE TABLE held (
    id INTEGER PRIMARY KEY AUTOINCREMENT, -- commands name it: never used again
    device BLOB NOT NULL,
    incarnation INTEGER NOT NULL,
    n INTEGER NOT NULL,
    grp INTEGER NOT NULL,
    since INTEGER NOT NULL,
    reason BLOB NOT NULL,
    detail TEXT,
    decision INTEGER, -- 0 release, 1 drop
    problem TEXT,
    UNIQUE (device, incarnation, n, grp)
) STRICT;
CREATE INDEX held_decided ON held (id) WHERE decision IS NOT NULL;
INSERT INTO held (device, incarnation, n, grp, since, reason, detail)
    SELECT device, incarnation, n, grp, time, x'02', detail FROM quarantine;
DROP TABLE quarantine;
";

// A city that was put back from a backup.
const RECOVERY: &str = "
ALTER TABLE city ADD COLUMN recovering INTEGER NOT NULL DEFAULT 0; -- no folio is issued meanwhile
CREATE TABLE epochs (
    epoch INTEGER PRIMARY KEY,
    body BLOB NOT NULL,
    signature BLOB NOT NULL,
    closed_at INTEGER
) STRICT;
-- What receipts say became of envelopes that are not here, until these have come.
CREATE TABLE proofs (envelope BLOB PRIMARY KEY, answers BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE folio_claims (
    folio INTEGER PRIMARY KEY,
    doc BLOB NOT NULL
) STRICT;
CREATE TABLE void_folios (
    first INTEGER PRIMARY KEY,
    last INTEGER NOT NULL,
    epoch INTEGER NOT NULL
) STRICT;
CREATE INDEX docs_without_folio ON docs (creation_seq) WHERE folio IS NULL AND kind = 0;
";

// Which state of the database this is: another one after each write (`journal`).
const JOURNAL: &str = "
CREATE TABLE journal (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    mark BLOB NOT NULL
) STRICT;
INSERT INTO journal (id, mark) VALUES (1, randomblob(16));
";

// A recovery is closed by a record that the root signed, which says when.
const CLOSING: &str = "
ALTER TABLE epochs DROP COLUMN closed_at;
ALTER TABLE epochs ADD COLUMN closing_body BLOB;
ALTER TABLE epochs ADD COLUMN closing_signature BLOB; -- the body is signed by the root, as that of the epoch
";
