-- Every statement about write keys. "-- name: what it does" begins one; storage.postgres.statement reads them.

-- keys: all there are, those that are off among them: who sends one is told so
SELECT id, hash, name, owner, secret, doors, origins, origins_only, rate, burst, bucket, created_at, replaced_by,
       not_after, revoked_at, heartbeat_s
  FROM write_keys ORDER BY created_at, id;

-- create_key: one that nobody had
INSERT INTO write_keys (id, hash, name, owner, secret, doors, origins, origins_only, rate, burst, bucket, heartbeat_s)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $1, $11);

-- rotate_key: a new one ($2 its id, $3 its hash) like $1, whose time is up after $4. Nothing when $1 is off, or was
-- replaced already. The server's kind stays: a public key is followed by a public one
WITH replaced AS (
    SELECT * FROM write_keys
     WHERE id = $1 AND revoked_at IS NULL AND replaced_by IS NULL AND (not_after IS NULL OR not_after > now())
       FOR UPDATE
), made AS (
    INSERT INTO write_keys (id, hash, name, owner, secret, doors, origins, origins_only, rate, burst, bucket, heartbeat_s)
    SELECT $2, $3, name, owner, secret, doors, origins, origins_only, rate, burst, bucket, heartbeat_s FROM replaced
    RETURNING id
)
UPDATE write_keys SET replaced_by = made.id, not_after = now() + $4::interval
  FROM made WHERE write_keys.id = $1
RETURNING write_keys.not_after;

-- set_heartbeat: of the key $1: $2 seconds; NULL: as the settings say
UPDATE write_keys SET heartbeat_s = $2 WHERE id = $1 RETURNING id;

-- revoke_key: from now on; one that was revoked stays so since then
UPDATE write_keys SET revoked_at = coalesce(revoked_at, now()) WHERE id = $1 RETURNING id;

-- is_secret: of the key $1
SELECT secret FROM write_keys WHERE id = $1;
