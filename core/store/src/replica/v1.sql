-- A device's replica, version 1. Released migrations are never edited: add v2.sql.
-- Structured values are CBOR by the engine's codec. `place` is the order in which rows were first
-- stored; replacing a row keeps it.

-- What the replica knows of itself: one row.
CREATE TABLE own (
    id         INTEGER PRIMARY KEY CHECK (id = 0),
    meta       BLOB,                        -- the engine's state, opaque
    token      BLOB,                        -- see token.rs for these three
    file_token BLOB,
    restored   INTEGER NOT NULL DEFAULT 0
) STRICT;
INSERT INTO own (id) VALUES (0);

-- Everything that lists and digests need. The bytes of documents are apart, in doc_bytes, so that no
-- list ever reads a page of them.
CREATE TABLE docs (
    place           INTEGER PRIMARY KEY,
    doc             BLOB NOT NULL UNIQUE CHECK (length(doc) = 16),
    kind            INTEGER NOT NULL,       -- index in DocKind
    status          INTEGER NOT NULL,       -- index in Status
    conflict        INTEGER NOT NULL,
    captured_at     INTEGER NOT NULL,       -- milliseconds UTC, a claim
    folio           INTEGER,
    creation_seq    INTEGER,
    provisional     INTEGER NOT NULL,
    quarantined     INTEGER NOT NULL,
    accepted_heads  BLOB NOT NULL,
    accepted_scopes BLOB NOT NULL,
    summary         BLOB NOT NULL
) STRICT;
CREATE INDEX docs_newest ON docs (captured_at DESC, doc);

CREATE TABLE doc_bytes (
    place    INTEGER PRIMARY KEY REFERENCES docs (place) ON DELETE CASCADE,
    accepted BLOB,
    shown    BLOB
) STRICT;

-- Index of docs.accepted_scopes. It has no foreign key, which would ask for one more index on every
-- write: the row that it is derived from says which of its entries to remove.
CREATE TABLE doc_scopes (
    scope TEXT NOT NULL,
    doc   BLOB NOT NULL,
    PRIMARY KEY (scope, doc)
) STRICT, WITHOUT ROWID;

CREATE TABLE envelopes (
    place       INTEGER PRIMARY KEY,
    device      BLOB NOT NULL CHECK (length(device) = 16),
    incarnation INTEGER NOT NULL,
    n           INTEGER NOT NULL,
    device_time INTEGER,                    -- milliseconds UTC; NULL when the body cannot be read
    hash        BLOB NOT NULL,
    envelope    BLOB NOT NULL,
    answers     BLOB,                       -- NULL until the relay has answered
    docs        BLOB NOT NULL,
    UNIQUE (device, incarnation, n)
) STRICT;
CREATE INDEX envelopes_unsent ON envelopes (device, device_time) WHERE answers IS NULL;
CREATE INDEX envelopes_carried ON envelopes (place, device, incarnation) WHERE answers IS NULL;

-- Index of envelopes.docs, only while the envelope is not answered for good.
CREATE TABLE envelope_docs (
    doc   BLOB NOT NULL,
    place INTEGER NOT NULL,                 -- in envelopes; no foreign key, as in doc_scopes
    PRIMARY KEY (doc, place)
) STRICT, WITHOUT ROWID;

CREATE TABLE intents (
    place      INTEGER PRIMARY KEY,
    id         BLOB NOT NULL UNIQUE CHECK (length(id) = 9),
    to_correct INTEGER NOT NULL,
    state      BLOB NOT NULL,
    intent     BLOB NOT NULL,
    docs       BLOB NOT NULL
) STRICT;
CREATE INDEX intents_to_correct ON intents (place) WHERE to_correct = 1;

-- Index of intents.docs, only while the intent is pending or held.
CREATE TABLE intent_docs (
    doc   BLOB NOT NULL,
    place INTEGER NOT NULL,                 -- in intents
    PRIMARY KEY (doc, place)
) STRICT, WITHOUT ROWID;

-- What the relay signed: the device's proof.
CREATE TABLE receipts (
    place     INTEGER PRIMARY KEY,
    time      INTEGER NOT NULL,             -- city time, milliseconds UTC
    body      BLOB NOT NULL,
    signature BLOB NOT NULL CHECK (length(signature) = 64)
) STRICT;
CREATE INDEX receipts_by_time ON receipts (time);

CREATE TABLE digests (
    scope TEXT PRIMARY KEY,
    state BLOB NOT NULL
) STRICT, WITHOUT ROWID;
