-- What is written to see whether anything can be.
CREATE TABLE write_probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    tries BIGINT NOT NULL
);

-- Who had a slug in the platform's zones last, once it is nobody's. Visitors' browsers still hold what the one before stored there.
CREATE TABLE former_slugs (
    slug TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    external_user_id TEXT,
    released_at BIGINT NOT NULL,
    -- When the last holder took it over from somebody else, if it did.
    changed_hands_at BIGINT
) WITHOUT ROWID;
INSERT INTO former_slugs (slug, tenant, external_user_id, released_at)
SELECT slug, tenant, external_user_id, max(destroyed_at) FROM sandboxes
WHERE destroyed_at IS NOT NULL AND slug NOT IN (SELECT slug FROM slugs WHERE scope = '') GROUP BY slug;

-- Since when a sandbox has a name, or a sandbox has an owner, that was somebody else's before.
ALTER TABLE sandboxes ADD COLUMN changed_hands_at BIGINT;

-- Whose a domain or an exact host name was when it was last verified; kept when it is given up.
CREATE TABLE name_holders (
    name TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    verified_at BIGINT NOT NULL
) WITHOUT ROWID;
INSERT INTO name_holders (name, tenant, verified_at)
SELECT domain, tenant, verified_at FROM domains WHERE verified_at IS NOT NULL;
INSERT INTO name_holders (name, tenant, verified_at)
SELECT fqdn, tenant, verified_at FROM custom_domains WHERE verified_at IS NOT NULL ON CONFLICT DO NOTHING;
-- Whether its TXT record must prove whose it is before it is verified: it, or one above or below it, was somebody else's.
ALTER TABLE domains ADD COLUMN must_prove INTEGER NOT NULL DEFAULT 0;
ALTER TABLE custom_domains ADD COLUMN must_prove INTEGER NOT NULL DEFAULT 0;

-- Which key or delegation token made it.
ALTER TABLE tokens ADD COLUMN minted_by TEXT;
ALTER TABLE shares ADD COLUMN minted_by TEXT;
CREATE INDEX tokens_by_minter ON tokens (minted_by) WHERE revoked_at IS NULL AND minted_by IS NOT NULL;
CREATE INDEX shares_by_minter ON shares (minted_by) WHERE revoked_at IS NULL AND minted_by IS NOT NULL;

-- Environments of sandboxes and headers of webhooks are encrypted from now on. Rows in which they are not are listed here until the store is
-- opened the next time.
UPDATE sandboxes SET attributes = json_set(attributes, '$.env', NULL) WHERE json_extract(attributes, '$.env') = '{}';
CREATE TABLE unsealed (
    id TEXT PRIMARY KEY
) WITHOUT ROWID;
INSERT INTO unsealed (id) SELECT id FROM sandboxes WHERE json_type(attributes, '$.env') = 'object';
INSERT INTO unsealed (id) SELECT id FROM webhooks;
