-- What relays and people may do. Run by "init" and again by each "upgrade". Every function runs as fleet_owner with a
-- search path of its own, and takes the caller's name from session_user, which no caller can choose.
SET ROLE fleet_owner;

-- Refuses an act that eximcertd/acts/act.py would call malformed: relays would stop at it.
CREATE OR REPLACE FUNCTION fleet.malformed(a jsonb) RETURNS text LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  names text[] := ARRAY(SELECT jsonb_array_elements_text(a -> 'fingerprints'));
  settles text[] := ARRAY(SELECT jsonb_array_elements_text(a -> 'settles'));
  verb text := a ->> 'verb';
  detail text := a ->> 'detail';
  one_authority boolean := verb IN ('authorize', 'withdraw');
BEGIN
  RETURN concat_ws(', ',
    CASE WHEN (a ->> 'generation' ~ '^[1-9][0-9]{0,17}$') IS NOT TRUE THEN 'generation' END,
    CASE WHEN (a ->> 'previous' ~ '^[0-9A-F]{64}$') IS NOT TRUE THEN 'previous' END,
    CASE WHEN (verb IN ('approve', 'reject', 'revoke') OR one_authority) IS NOT TRUE THEN 'verb' END,
    CASE WHEN (a ->> 'by' ~ '^[A-Za-z0-9_][A-Za-z0-9_.@+-]{0,99}$') IS NOT TRUE THEN 'by' END,
    CASE WHEN (a ->> 'at' ~ '^(0|[1-9][0-9]{0,17})$') IS NOT TRUE THEN 'at' END,
    CASE WHEN (a ->> 'request' ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') IS NOT TRUE THEN 'request' END,
    CASE WHEN (length(a ->> 'note') <= 1000 AND a ->> 'note' !~ '[\u0001-\u001f\u007f-\u009f\u2028\u2029]') IS NOT TRUE
      THEN 'note' END,
    CASE WHEN (cardinality(settles) <= 5000 AND NOT EXISTS (SELECT FROM unnest(settles) s
        WHERE (s ~ '^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$') IS NOT TRUE)
        AND settles = ARRAY(SELECT DISTINCT s COLLATE "C" FROM unnest(settles) s ORDER BY 1)) IS NOT TRUE
      THEN 'settles' END,
    CASE WHEN (length(detail) <= 65536 AND CASE WHEN verb = 'authorize' THEN
          detail ~ '^[A-Za-z0-9+/]+={0,2}( [\u0021-\u007e]+)*$'
          AND upper(encode(sha256(decode(split_part(detail, ' ', 1), 'base64')), 'hex')) = names[1]
        ELSE detail = '' END) IS NOT TRUE THEN 'detail' END,
    CASE WHEN (length(a ->> 'signature') <= 16384 AND a ->> 'signature' ~ '^[A-Za-z0-9+/]*={0,2}$') IS NOT TRUE
      THEN 'signature' END,
    CASE WHEN (cardinality(names) BETWEEN 1 AND CASE WHEN one_authority THEN 1 ELSE 10000 END
        AND NOT EXISTS (SELECT FROM unnest(names) f WHERE (f ~ '^[0-9A-F]{64}$') IS NOT TRUE)
        AND names = ARRAY(SELECT DISTINCT f COLLATE "C" FROM unnest(names) f ORDER BY 1)) IS NOT TRUE
      THEN 'fingerprints' END);
END $$;

CREATE OR REPLACE VIEW fleet.open AS
  SELECT o.* FROM fleet.own o WHERE NOT EXISTS (SELECT FROM fleet.settled s WHERE s.relay = o.relay AND s.id = o.id);

CREATE OR REPLACE FUNCTION fleet.becomes(verb text) RETURNS text LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp AS $$
  SELECT CASE verb WHEN 'approve' THEN 'approved' WHEN 'reject' THEN 'rejected' WHEN 'revoke' THEN 'revoked'
    WHEN 'authorize' THEN 'authorized' WHEN 'withdraw' THEN 'withdrawn' END
$$;

-- Appends an act. SQLSTATE FL001: it does not follow the head, build it again; FL002: it is refused.
-- It writes no row that a relay could have locked.
CREATE OR REPLACE FUNCTION fleet.decide(act jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  a record;
  head record;
  known record;
  content bytea;
  own_hash text;
  problem text := fleet.malformed(act);
  of_authority boolean;
  names bytea[];
BEGIN
  IF problem <> '' THEN
    RAISE 'the act is malformed: %', problem USING ERRCODE = 'FL002';
  END IF;
  SELECT * INTO a FROM jsonb_to_record(act) AS r(generation bigint, previous text, verb text, by text, at bigint,
    request uuid, fingerprints text[], note text, settles text[], detail text, signature text);
  IF a."by" <> session_user THEN -- quoted: PL/pgSQL has a keyword BY
    RAISE 'the act says that % decides, and % is connected', a."by", session_user USING ERRCODE = 'FL002';
  END IF;
  content := convert_to(concat_ws(E'\n', 'eximcertd act 1', a.generation, a.previous, a.verb, a."by", a.at, a.request,
    a.note, array_to_string(a.settles, ' '), a.detail, array_to_string(a.fingerprints, E'\n'), ''), 'UTF8');
  own_hash := upper(encode(sha256(content), 'hex'));

  SELECT * INTO head FROM fleet.head FOR UPDATE;
  SELECT t.generation, t.hash INTO known FROM fleet.act t WHERE t.request = a.request;
  IF known.hash = own_hash THEN
    RETURN; -- asked again: the answer was lost
  ELSIF known.hash IS NOT NULL THEN
    RAISE 'this request is act % already', known.generation USING ERRCODE = 'FL001';
  ELSIF a.generation <> head.generation + 1 OR a.previous <> head.hash THEN
    RAISE 'the newest act is % now', head.generation USING ERRCODE = 'FL001';
  ELSIF abs(a.at - extract(epoch FROM clock_timestamp()) * 1000000) > 60000000 THEN
    RAISE 'the act is dated % s away from the database''s time',
      round(a.at / 1000000 - extract(epoch FROM clock_timestamp())) USING ERRCODE = 'FL002';
  ELSIF a.signature = '' AND EXISTS (SELECT FROM fleet.act t WHERE t.generation = head.generation AND t.signature <> '')
  THEN -- relays that ask for signatures would stop at it
    RAISE 'the act is not signed, and the one before it is: set [fleet] signers on this machine too'
      USING ERRCODE = 'FL002';
  END IF;

  of_authority := a.verb IN ('authorize', 'withdraw');
  names := ARRAY(SELECT decode(f, 'hex') FROM unnest(a.fingerprints) f);
  SELECT string_agg(format('%s can never be approved: %s', n.fingerprint, n.reason), E'\n') INTO problem
    FROM fleet.never n WHERE n.fingerprint = ANY (a.fingerprints) AND a.verb IN ('approve', 'authorize');
  IF problem IS NOT NULL THEN
    RAISE '%', problem USING ERRCODE = 'FL002';
  END IF;
  SELECT string_agg(line, E'\n') INTO problem FROM (
    SELECT f || ' ' || r.refusal AS line FROM unnest(a.fingerprints) f
      LEFT JOIN fleet.standing s ON s.fingerprint = decode(f, 'hex') AND s.authority = of_authority
      JOIN fleet.rule r ON r.status = coalesce(s.status, 'unseen') AND r.verb = a.verb
      -- A relay may have approved, or have revoked and not told yet, what the fleet has not approved.
      WHERE a.verb <> 'revoke' OR cardinality(a.settles) = 0
        AND NOT EXISTS (SELECT FROM fleet.open o WHERE o.fingerprint = decode(f, 'hex') AND o.verb <> 'reject')
      LIMIT 5) refused;
  IF problem IS NULL AND a.verb = 'approve' THEN
    SELECT string_agg(line, E'\n') INTO problem FROM (
      SELECT format('%s: %s on %s by %s is open; settle it by its id %s', upper(encode(o.fingerprint, 'hex')), o.verb,
        o.relay, o.by, o.id) AS line FROM fleet.open o WHERE o.fingerprint = ANY (names) AND o.verb IN ('reject', 'revoke') AND o.id::text <> ALL (a.settles) LIMIT 5) refused;
  END IF;
  IF problem IS NOT NULL THEN
    RAISE '%', problem USING ERRCODE = 'FL002';
  END IF;

  INSERT INTO fleet.act VALUES (a.generation, own_hash, a.request, content, a.signature);
  INSERT INTO fleet.settled SELECT o.relay, o.id, a.generation FROM fleet.own o
    WHERE o.id = ANY (a.settles::uuid[]) AND o.fingerprint = ANY (names)
    ON CONFLICT DO NOTHING;
  INSERT INTO fleet.standing SELECT f, of_authority, fleet.becomes(a.verb), a.generation FROM unnest(names) f
    ON CONFLICT ON CONSTRAINT standing_pkey
    DO UPDATE SET status = excluded.status, generation = excluded.generation;
  UPDATE fleet.head SET generation = a.generation, hash = own_hash;
END $$;

-- Locks the caller's own row; what a relay writes waits for no standby. Its name is used in place of session_user, whose
-- type, name, would keep the indexes from being used.
CREATE OR REPLACE FUNCTION fleet.as_relay() RETURNS fleet.relay LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r fleet.relay;
BEGIN
  PERFORM set_config('synchronous_commit', 'local', true);
  SELECT * INTO r FROM fleet.relay WHERE name = session_user::text FOR UPDATE;
  IF NOT FOUND THEN
    RAISE '% is no relay of this fleet', session_user USING ERRCODE = '42501';
  END IF;
  RETURN r;
END $$;

CREATE OR REPLACE FUNCTION fleet.now_ms() RETURNS bigint LANGUAGE sql
SET search_path = pg_catalog, pg_temp AS $$ SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint $$;

-- Replaces what is known of the caller's own decisions: at most 10,000, those that reject or revoke first.
CREATE OR REPLACE FUNCTION fleet.tell(own jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r fleet.relay := fleet.as_relay();
BEGIN
  DELETE FROM fleet.own WHERE relay = r.name;
  INSERT INTO fleet.own SELECT r.name, id, decode(fingerprint, 'hex'), verb, left(by, 100),
      least(at, fleet.now_ms()), left(note, 1000), greatest(base, 0), lost
    FROM jsonb_to_recordset(own) AS n(id uuid, fingerprint text, verb text, by text, at bigint, note text, base bigint,
      lost boolean)
    ORDER BY verb IN ('approve', 'adopt'), at LIMIT 10000
    ON CONFLICT DO NOTHING;
END $$;

-- Takes totals of at most 500 clients, with their certificates. Above the relay's quota of clients with a certificate,
-- and of those without, the least recently seen are dropped and counted.
CREATE OR REPLACE FUNCTION fleet.sight(seen jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r fleet.relay := fleet.as_relay();
  present bigint := fleet.now_ms();
  with_certificate boolean;
  excess bigint;
BEGIN
  IF jsonb_array_length(seen) > 500 THEN
    RAISE 'at most 500 clients at once' USING ERRCODE = '22023';
  END IF;
  INSERT INTO fleet.sighting AS s (relay, fingerprint, attempts, first_seen, last_seen, host, helo, sender, recipient, der)
    SELECT DISTINCT ON (fingerprint) r.name, decode(fingerprint, 'hex'), attempts, least(first_seen, present),
      least(last_seen, present), left(host, 255), left(helo, 255), left(sender, 320), left(recipient, 320),
      decode(der, 'base64')
    FROM jsonb_to_recordset(seen) AS n(fingerprint text, attempts bigint, first_seen bigint, last_seen bigint, host text,
      helo text, sender text, recipient text, der text)
    ORDER BY fingerprint
    ON CONFLICT (relay, fingerprint) DO UPDATE SET attempts = excluded.attempts, first_seen = excluded.first_seen,
      last_seen = excluded.last_seen, host = excluded.host, helo = excluded.helo, sender = excluded.sender,
      recipient = excluded.recipient, der = coalesce(excluded.der, s.der);
  FOREACH with_certificate IN ARRAY ARRAY[false, true] LOOP
    SELECT count(*) - r.quota INTO excess FROM fleet.sighting
      WHERE relay = r.name AND matched = with_certificate;
    IF excess > 0 THEN
      DELETE FROM fleet.sighting WHERE relay = r.name AND fingerprint IN (SELECT fingerprint FROM fleet.sighting
        WHERE relay = r.name AND matched = with_certificate ORDER BY last_seen, fingerprint LIMIT excess);
      UPDATE fleet.relay SET dropped = dropped + excess WHERE name = r.name;
    END IF;
  END LOOP;
END $$;

CREATE OR REPLACE FUNCTION fleet.report(report jsonb) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp AS $$
DECLARE
  r fleet.relay := fleet.as_relay();
BEGIN
  UPDATE fleet.relay SET seen_at = clock_timestamp(), version = left(n.version, 40), received = n.received,
      live = n.live, own = n.own, problem = left(n.problem, 500),
      left_out = n.dropped, skew = n.clock - fleet.now_ms()
    FROM jsonb_to_record(report.report) AS n(version text, received bigint, live bigint, own integer, problem text,
      dropped bigint, clock bigint) WHERE name = r.name;
END $$;

-- What waits: no act has decided on it. Of what is without a certificate, the 20,000 newest rows are looked at. The
-- certificate comes in one row of each fingerprint.
CREATE OR REPLACE FUNCTION fleet.pending(most integer) RETURNS TABLE (fingerprint bytea, place bigint)
LANGUAGE sql STABLE ROWS 50 SET search_path = pg_catalog, pg_temp AS $$
  WITH waiting AS (
    SELECT s.fingerprint, s.matched, s.last_seen FROM fleet.sighting s WHERE s.matched
    UNION ALL
    (SELECT s.fingerprint, s.matched, s.last_seen FROM fleet.sighting s WHERE NOT s.matched
      ORDER BY s.last_seen DESC LIMIT 20000))
  SELECT w.fingerprint, row_number() OVER (ORDER BY bool_or(w.matched) DESC, max(w.last_seen) DESC, w.fingerprint)
    FROM waiting w WHERE NOT EXISTS (
      SELECT FROM fleet.standing d WHERE d.fingerprint = w.fingerprint AND NOT d.authority)
    GROUP BY w.fingerprint ORDER BY 2 LIMIT most
$$;

REVOKE ALL ON ALL FUNCTIONS IN SCHEMA fleet FROM PUBLIC;
GRANT USAGE ON SCHEMA fleet TO fleet_relay, fleet_reader;
GRANT SELECT ON fleet.version, fleet.head, fleet.act TO fleet_relay;
GRANT EXECUTE ON FUNCTION fleet.tell, fleet.sight, fleet.report TO fleet_relay;
GRANT SELECT ON ALL TABLES IN SCHEMA fleet TO fleet_reader;
GRANT EXECUTE ON FUNCTION fleet.pending TO fleet_reader;
GRANT EXECUTE ON FUNCTION fleet.decide TO fleet_approver;
