-- The fleet's database, version 1: roles and tables. What it may do is in functions.sql.
\set ON_ERROR_STOP on
CREATE ROLE fleet_owner NOLOGIN;
CREATE ROLE fleet_relay NOLOGIN;
CREATE ROLE fleet_reader NOLOGIN;
CREATE ROLE fleet_approver NOLOGIN IN ROLE fleet_reader;
CREATE DATABASE fleet OWNER fleet_owner TEMPLATE template0 ENCODING 'UTF8' LC_COLLATE 'C' LC_CTYPE 'C';
\connect fleet
BEGIN;
-- Nobody else connects or makes temporary tables, and nobody fills the disk with large objects or runs DO blocks.
REVOKE ALL ON DATABASE fleet FROM PUBLIC;
GRANT CONNECT ON DATABASE fleet TO fleet_relay, fleet_reader;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea), lo_put(oid, bigint, bytea),
  lo_open(oid, integer), lowrite(integer, bytea) FROM PUBLIC;
REVOKE USAGE ON LANGUAGE plpgsql FROM PUBLIC;
GRANT USAGE ON LANGUAGE plpgsql TO fleet_owner;
-- For all schemas: with IN SCHEMA, this statement would take nothing away.
ALTER DEFAULT PRIVILEGES FOR ROLE fleet_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;
SET ROLE fleet_owner;
CREATE SCHEMA fleet;

CREATE TABLE fleet.version (one boolean PRIMARY KEY DEFAULT true CHECK (one), version integer NOT NULL);
INSERT INTO fleet.version (version) VALUES (1);

-- The acts, as their canonical text (eximcertd/acts/act.py). The row of head is locked by each decision until it is
-- committed, so generations have no gap and become visible in their order.
CREATE TABLE fleet.head (one boolean PRIMARY KEY DEFAULT true CHECK (one), generation bigint NOT NULL,
  hash text NOT NULL) WITH (fillfactor = 10);
INSERT INTO fleet.head (generation, hash) VALUES (0, repeat('0', 64));
CREATE TABLE fleet.act (generation bigint PRIMARY KEY, hash text NOT NULL, request uuid NOT NULL UNIQUE,
  text bytea NOT NULL, signature text NOT NULL);
CREATE TABLE fleet.standing (fingerprint bytea, authority boolean, status text NOT NULL,
  generation bigint NOT NULL REFERENCES fleet.act, PRIMARY KEY (fingerprint, authority));
-- Which own decisions of relays the acts have settled. No column of fleet.own, where a relay could lock the row.
CREATE TABLE fleet.settled (relay text, id uuid, generation bigint NOT NULL REFERENCES fleet.act,
  PRIMARY KEY (relay, id));
-- What is refused: their rows come from eximcertd/status.py and eximcertd/fingerprint.py, at each "init" and "upgrade".
CREATE TABLE fleet.rule (status text, verb text, refusal text NOT NULL, PRIMARY KEY (status, verb));
CREATE TABLE fleet.never (fingerprint text PRIMARY KEY, reason text NOT NULL);

CREATE TABLE fleet.relay (name text PRIMARY KEY, quota integer NOT NULL DEFAULT 10000 CHECK (quota > 0),
  dropped bigint NOT NULL DEFAULT 0, seen_at timestamptz, version text, received bigint, live bigint, own integer,
  problem text, left_out bigint, skew bigint) WITH (fillfactor = 50);
CREATE TABLE fleet.own (relay text REFERENCES fleet.relay ON DELETE CASCADE, id uuid, fingerprint bytea NOT NULL
  CHECK (octet_length(fingerprint) = 32), verb text NOT NULL CHECK (verb IN ('approve', 'adopt', 'reject', 'revoke')),
  by text NOT NULL, at bigint NOT NULL, note text NOT NULL, base bigint NOT NULL, lost boolean NOT NULL,
  PRIMARY KEY (relay, id));
CREATE INDEX ON fleet.own (fingerprint);
-- A relay's word on a certificate is not believed: the fingerprint is the hash, or there is no row.
CREATE TABLE fleet.sighting (relay text REFERENCES fleet.relay ON DELETE CASCADE, fingerprint bytea
  CHECK (octet_length(fingerprint) = 32), attempts bigint NOT NULL, first_seen bigint NOT NULL,
  last_seen bigint NOT NULL, host text, helo text, sender text, recipient text,
  der bytea CHECK (octet_length(der) <= 16384), CHECK (sha256(der) = fingerprint),
  matched boolean NOT NULL GENERATED ALWAYS AS (der IS NOT NULL) STORED, PRIMARY KEY (relay, fingerprint));
CREATE INDEX ON fleet.sighting (fingerprint);
CREATE INDEX ON fleet.sighting (relay, matched, last_seen);
-- Partial, so that no plan for one relay's rows goes through those of all.
CREATE INDEX ON fleet.sighting (last_seen) WHERE NOT matched;
CREATE INDEX ON fleet.sighting (fingerprint, last_seen) WHERE matched;

CREATE FUNCTION fleet.unchanged() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE 'acts are appended, never changed or removed';
END $$;
CREATE TRIGGER appended BEFORE UPDATE OR DELETE OR TRUNCATE ON fleet.act
  FOR EACH STATEMENT EXECUTE FUNCTION fleet.unchanged();
RESET ROLE;
COMMIT;
