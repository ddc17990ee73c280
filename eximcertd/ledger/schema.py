"""The ledger's tables, their version, and the way from each older version to this one."""

from __future__ import annotations

from typing import Final

APPLICATION_ID: Final = 0x45584344  # "EXCD"

# Times are milliseconds since the epoch, UTC. An entry is one fingerprint; three facts about it are kept
# apart, since a crash may part them: what was decided (standing), what is being published (publishing) and
# what was last confirmed live (confirmed). withheld: approved, but a person took it out of the macro file.
# identity: what the certificate of an approved fingerprint was, since the file often goes when it is renewed.
# From version 2 on: lapsed: approved, and off the list by the clock alone (expired, not yet valid, replaced); derived
# from identity and revoke_at, and undone when the clock says otherwise. recorded: the running time (fact running_ms,
# ledger/clock.py) when an attempt was last recorded, which forgetting goes by.
# From version 3 on: uses, used: how many recipients Exim accepted from it, and when the last one, where Exim logs that.
_VERSION_1: Final = """
CREATE TABLE entry (
  fingerprint TEXT PRIMARY KEY,
  standing TEXT NOT NULL,
  decision INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  first_seen INTEGER,
  last_seen INTEGER,
  host TEXT, helo TEXT, sender TEXT, recipient TEXT,
  matched INTEGER NOT NULL DEFAULT 0,
  withheld INTEGER NOT NULL DEFAULT 0,
  publishing INTEGER NOT NULL DEFAULT 0,
  confirmed INTEGER NOT NULL DEFAULT 0,
  revoke_at INTEGER
) WITHOUT ROWID;
CREATE INDEX entry_revoke_at ON entry (revoke_at) WHERE revoke_at IS NOT NULL;
CREATE INDEX entry_standing ON entry (standing, matched);
CREATE INDEX entry_unmatched ON entry (last_seen) WHERE standing = 'pending' AND matched = 0;
CREATE INDEX entry_wanted ON entry (fingerprint) WHERE standing = 'approved' AND withheld = 0;
CREATE INDEX entry_withheld ON entry (fingerprint) WHERE withheld = 1;
CREATE INDEX entry_due ON entry (fingerprint)
  WHERE publishing <> (standing = 'approved' AND withheld = 0);
CREATE INDEX entry_unsettled ON entry (fingerprint) WHERE confirmed <> publishing;
CREATE TABLE decision (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  fingerprint TEXT NOT NULL,
  verb TEXT NOT NULL,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  note TEXT NOT NULL DEFAULT '',
  request TEXT
);
CREATE INDEX decision_fingerprint ON decision (fingerprint);
CREATE INDEX decision_request ON decision (request) WHERE request IS NOT NULL;
CREATE TRIGGER decision_is_never_edited BEFORE UPDATE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are appended, never edited'); END;
CREATE TRIGGER decision_is_never_removed BEFORE DELETE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are appended, never removed'); END;
CREATE TABLE identity (
  fingerprint TEXT PRIMARY KEY,
  spki TEXT NOT NULL,
  subject TEXT NOT NULL,
  issuer TEXT NOT NULL,
  not_after INTEGER
) WITHOUT ROWID;
CREATE INDEX identity_spki ON identity (spki);
CREATE INDEX identity_name ON identity (subject, issuer);
CREATE TABLE log_position (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE segment (key TEXT PRIMARY KEY, segment TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX segment_at ON segment (at);
CREATE TABLE publication (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  form TEXT NOT NULL,
  count INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  message TEXT NOT NULL DEFAULT ''
);
CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
"""

_VERSION_2: Final = """
ALTER TABLE entry ADD COLUMN lapsed INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE identity ADD COLUMN not_before INTEGER;
DROP INDEX entry_wanted;
DROP INDEX entry_due;
CREATE INDEX entry_wanted ON entry (fingerprint) WHERE standing = 'approved' AND withheld = 0 AND lapsed = 0;
CREATE INDEX entry_due ON entry (fingerprint)
  WHERE publishing <> (standing = 'approved' AND withheld = 0 AND lapsed = 0);
CREATE INDEX entry_lapsed ON entry (fingerprint) WHERE lapsed = 1;
CREATE INDEX entry_recorded ON entry (recorded) WHERE standing = 'pending';
CREATE INDEX identity_not_after ON identity (not_after);
"""

# shown: the certificate that a client showed in a refused attempt, which the log brings. issuer_hash: SHA-256 of the
# issuer's name as Exim prints it. name: the first 16 bytes of SHA-256 of its subject (RFC 4514), NULL if it has none.
# entry.matched: 0: no certificate is known; 1: a file of the directory held it; 2: only ``shown`` has it.
# authority: an approved authority, or a withdrawn one (standing 'revoked'). hashes: of its name as Exim prints it.
# enrolment: a fingerprint that is approved because an authority issued its certificate. denial: a name or key of a
# rejected or revoked certificate, which its authority's next one may not have; void once that is approved again. The
# columns of its key come first: else quick_check of SQLite 3.40 reports NULL values in it, and so a damaged ledger.
_VERSION_3: Final = """
ALTER TABLE entry ADD COLUMN uses INTEGER NOT NULL DEFAULT 0;
ALTER TABLE entry ADD COLUMN used INTEGER;
CREATE TABLE shown (
  id INTEGER PRIMARY KEY,
  fingerprint TEXT NOT NULL UNIQUE REFERENCES entry ON DELETE CASCADE,
  der BLOB NOT NULL,
  issuer_hash TEXT NOT NULL,
  name BLOB
);
CREATE INDEX shown_name ON shown (name);
DROP INDEX entry_unmatched;
CREATE INDEX entry_unmatched ON entry (last_seen) WHERE standing = 'pending' AND matched <> 1;
CREATE INDEX identity_not_before ON identity (not_before);
CREATE TABLE authority (
  fingerprint TEXT PRIMARY KEY,
  der BLOB NOT NULL,
  patterns TEXT NOT NULL,
  crl TEXT NOT NULL,
  standing TEXT NOT NULL,
  hashes TEXT NOT NULL,
  decision INTEGER NOT NULL
) WITHOUT ROWID;
CREATE TABLE enrolment (
  fingerprint TEXT PRIMARY KEY,
  authority TEXT NOT NULL,
  serial TEXT NOT NULL,
  names TEXT NOT NULL,
  at INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX enrolment_authority ON enrolment (authority, serial);
CREATE TABLE denial (
  kind TEXT NOT NULL,
  value TEXT NOT NULL,
  fingerprint TEXT NOT NULL,
  authority TEXT NOT NULL,
  PRIMARY KEY (kind, value, fingerprint)
) WITHOUT ROWID;
CREATE INDEX denial_authority ON denial (authority);
"""


def new_id(verb: str) -> str:
    """Return SQL for the id of an own decision, from SQL for its verb: see OwnDecision.refuses. 80 bits are random."""
    refuses = f"({verb} IN ('reject', 'revoke'))"
    return f"lower(hex(randomblob(4)) || '-000' || {refuses} || '-4000-8000-' || hex(randomblob(6)))"


# A fleet; without one nothing is stored here. decision.generation: of the act that it comes from. fleet: a single row;
# member: whether this relay is in a fleet now; applied: the last act that was applied to all of its fingerprints; done:
# up to which fingerprint the next act was applied. fleet_act: the acts taken, each as its canonical text (acts/act.py).
# own: decisions of this relay that no act has settled; base: the generation that was applied to the fingerprint then.
# fleet_sighted: the order in which pending entries changed.
# entry.ends: identity.not_after, the largest number if that is not known, NULL without an identity: what ended long ago
# and is kept, 10,000 certificates a day under an authority that renews daily, is not read again for what ends now.
# denial.open: what else is enrolled with the name or key was not looked for yet.
_VERSION_4: Final = """
ALTER TABLE decision ADD COLUMN generation INTEGER;
CREATE INDEX IF NOT EXISTS entry_shown ON entry (fingerprint)
  WHERE standing = 'approved' AND matched = 2 AND decision IS NOT NULL;
DELETE FROM identity WHERE fingerprint NOT IN (SELECT fingerprint FROM entry);
ALTER TABLE entry ADD COLUMN ends INTEGER;
UPDATE entry SET ends = coalesce(i.not_after, 9223372036854775807) FROM identity i
  WHERE i.fingerprint = entry.fingerprint;
DROP INDEX entry_lapsed;
CREATE INDEX entry_ends ON entry (lapsed, decision IS NULL, ends) WHERE standing = 'approved' AND ends IS NOT NULL;
CREATE TRIGGER identity_ends AFTER INSERT ON identity
  BEGIN
    UPDATE entry SET ends = coalesce(NEW.not_after, 9223372036854775807) WHERE fingerprint = NEW.fingerprint;
  END;
ALTER TABLE denial ADD COLUMN open INTEGER NOT NULL DEFAULT 0;
CREATE INDEX denial_open ON denial (fingerprint) WHERE open = 1;
CREATE TRIGGER entry_is_forgotten AFTER DELETE ON entry
  BEGIN DELETE FROM identity WHERE fingerprint = OLD.fingerprint; END;
CREATE TABLE fleet (
  relay TEXT NOT NULL,
  member INTEGER NOT NULL,
  applied INTEGER NOT NULL DEFAULT 0,
  done TEXT NOT NULL DEFAULT ''
);
CREATE TABLE fleet_act (
  generation INTEGER PRIMARY KEY,
  hash TEXT NOT NULL,
  text BLOB NOT NULL,
  signature TEXT NOT NULL
);
CREATE TABLE own (
  fingerprint TEXT PRIMARY KEY,
  verb TEXT NOT NULL,
  base INTEGER NOT NULL,
  id TEXT NOT NULL,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  note TEXT NOT NULL,
  lost INTEGER NOT NULL DEFAULT 0
) WITHOUT ROWID;
CREATE INDEX own_verb ON own (verb, at);
CREATE TABLE fleet_sighted (
  fingerprint TEXT PRIMARY KEY REFERENCES entry ON DELETE CASCADE,
  number INTEGER NOT NULL
) WITHOUT ROWID;
CREATE INDEX fleet_sighted_number ON fleet_sighted (number);
CREATE TRIGGER decision_is_own AFTER INSERT ON decision
  WHEN NEW.generation IS NULL AND NEW.verb NOT IN ('authorize', 'withdraw')
    AND EXISTS (SELECT 1 FROM fleet WHERE member = 1)
  BEGIN
    INSERT OR REPLACE INTO own
      SELECT NEW.fingerprint, NEW.verb, applied + (NEW.fingerprint <= done), NEW_ID, NEW.by, NEW.at, NEW.note, 0
      FROM fleet;
  END;
CREATE TRIGGER entry_is_sighted AFTER INSERT ON entry
  WHEN NEW.standing = 'pending' AND EXISTS (SELECT 1 FROM fleet WHERE member = 1)
  BEGIN
    INSERT OR REPLACE INTO fleet_sighted
      VALUES (NEW.fingerprint, coalesce((SELECT max(number) FROM fleet_sighted), 0) + 1);
  END;
CREATE TRIGGER entry_is_sighted_again AFTER UPDATE OF attempts, matched ON entry
  WHEN NEW.standing = 'pending' AND EXISTS (SELECT 1 FROM fleet WHERE member = 1)
  BEGIN
    INSERT OR REPLACE INTO fleet_sighted
      VALUES (NEW.fingerprint, coalesce((SELECT max(number) FROM fleet_sighted), 0) + 1);
  END;
""".replace("NEW_ID", new_id("NEW.verb"))

UPGRADES: Final = (_VERSION_1, _VERSION_2, _VERSION_3, _VERSION_4)
"""UPGRADES[n] takes a ledger of version n to n + 1; version 0 is an empty file."""

VERSION: Final = len(UPGRADES)
