-- A ledger as the builds of version 2 made it, to prove that such ledgers are upgraded. It repeats an older schema on
-- purpose: it never changes, and does not follow schema.py.
PRAGMA application_id = 1163412292;
PRAGMA user_version = 2;
CREATE TABLE decision (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  fingerprint TEXT NOT NULL,
  verb TEXT NOT NULL,
  by TEXT NOT NULL,
  at INTEGER NOT NULL,
  note TEXT NOT NULL DEFAULT '',
  request TEXT
);
INSERT INTO "decision" VALUES(1,'1111111111111111111111111111111111111111111111111111111111111111','approve','alice',1500,'her laptop','r1');
INSERT INTO "decision" VALUES(2,'2222222222222222222222222222222222222222222222222222222222222222','adopt','by hand',1600,'found in the macro file',NULL);
INSERT INTO "decision" VALUES(3,'3333333333333333333333333333333333333333333333333333333333333333','approve','alice',1700,'','r2');
INSERT INTO "decision" VALUES(4,'3333333333333333333333333333333333333333333333333333333333333333','revoke','by policy',1800,'replaced by its successor',NULL);
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
, lapsed INTEGER NOT NULL DEFAULT 0, recorded INTEGER NOT NULL DEFAULT 0) WITHOUT ROWID;
INSERT INTO "entry" VALUES('1111111111111111111111111111111111111111111111111111111111111111','approved',1,3,1000,2000,'192.0.2.1','laptop','a@example.org','b@example.org',1,0,1,1,9000000000000,0,0);
INSERT INTO "entry" VALUES('2222222222222222222222222222222222222222222222222222222222222222','approved',2,0,NULL,NULL,NULL,NULL,NULL,NULL,0,1,0,0,NULL,0,0);
INSERT INTO "entry" VALUES('3333333333333333333333333333333333333333333333333333333333333333','revoked',4,1,1000,1000,NULL,NULL,NULL,NULL,1,0,0,0,NULL,0,0);
INSERT INTO "entry" VALUES('4444444444444444444444444444444444444444444444444444444444444444','pending',NULL,7,1000,5000,NULL,NULL,NULL,NULL,1,0,0,0,NULL,0,0);
INSERT INTO "entry" VALUES('5555555555555555555555555555555555555555555555555555555555555555','pending',NULL,1,1000,5000,NULL,NULL,NULL,NULL,0,0,0,0,NULL,0,0);
CREATE TABLE fact (key TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "fact" VALUES('confirmed_at','1901');
INSERT INTO "fact" VALUES('confirmed_digest','digest');
INSERT INTO "fact" VALUES('confirmed_form','list');
INSERT INTO "fact" VALUES('unmatched_dropped','12');
CREATE TABLE identity (
  fingerprint TEXT PRIMARY KEY,
  spki TEXT NOT NULL,
  subject TEXT NOT NULL,
  issuer TEXT NOT NULL,
  not_after INTEGER
, not_before INTEGER) WITHOUT ROWID;
INSERT INTO "identity" VALUES('1111111111111111111111111111111111111111111111111111111111111111','key','CN=laptop','CN=laptop',8000000000000,NULL);
CREATE TABLE log_position (source TEXT PRIMARY KEY, position TEXT NOT NULL) WITHOUT ROWID;
INSERT INTO "log_position" VALUES('file','{"version":1}');
CREATE TABLE publication (
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  form TEXT NOT NULL,
  count INTEGER NOT NULL,
  began_at INTEGER NOT NULL,
  ended_at INTEGER,
  outcome TEXT,
  message TEXT NOT NULL DEFAULT ''
);
INSERT INTO "publication" VALUES(1,'list',1,1900,1901,'live','');
CREATE TABLE segment (key TEXT PRIMARY KEY, segment TEXT NOT NULL, at INTEGER NOT NULL) WITHOUT ROWID;
INSERT INTO "segment" VALUES('key','{}',1);
CREATE INDEX entry_revoke_at ON entry (revoke_at) WHERE revoke_at IS NOT NULL;
CREATE INDEX entry_standing ON entry (standing, matched);
CREATE INDEX entry_unmatched ON entry (last_seen) WHERE standing = 'pending' AND matched = 0;
CREATE INDEX entry_withheld ON entry (fingerprint) WHERE withheld = 1;
CREATE INDEX entry_unsettled ON entry (fingerprint) WHERE confirmed <> publishing;
CREATE INDEX decision_fingerprint ON decision (fingerprint);
CREATE INDEX decision_request ON decision (request) WHERE request IS NOT NULL;
CREATE TRIGGER decision_is_never_edited BEFORE UPDATE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are appended, never edited'); END;
CREATE TRIGGER decision_is_never_removed BEFORE DELETE ON decision
  BEGIN SELECT RAISE(ABORT, 'decisions are appended, never removed'); END;
CREATE INDEX identity_spki ON identity (spki);
CREATE INDEX identity_name ON identity (subject, issuer);
CREATE INDEX segment_at ON segment (at);
CREATE INDEX entry_wanted ON entry (fingerprint) WHERE standing = 'approved' AND withheld = 0 AND lapsed = 0;
CREATE INDEX entry_due ON entry (fingerprint)
  WHERE publishing <> (standing = 'approved' AND withheld = 0 AND lapsed = 0);
CREATE INDEX entry_lapsed ON entry (fingerprint) WHERE lapsed = 1;
CREATE INDEX entry_recorded ON entry (recorded) WHERE standing = 'pending';
CREATE INDEX identity_not_after ON identity (not_after);
