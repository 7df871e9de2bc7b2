-- Whose sandboxes answer below a domain (level and the workspace's or project's id), and how its DNS has been found.
-- What was there before was entered by the operator, who vouches for it.
ALTER TABLE domains ADD COLUMN level TEXT NOT NULL DEFAULT 'tenant';
ALTER TABLE domains ADD COLUMN owner TEXT NOT NULL DEFAULT '';
ALTER TABLE domains ADD COLUMN bare INTEGER NOT NULL DEFAULT 1;
ALTER TABLE domains ADD COLUMN vouched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE domains ADD COLUMN standing TEXT NOT NULL DEFAULT '{}';
ALTER TABLE domains ADD COLUMN report TEXT;
ALTER TABLE domains ADD COLUMN next_check BIGINT NOT NULL DEFAULT 0;
UPDATE domains SET vouched = 1, created_at = coalesce(verified_at, 0);
CREATE INDEX domains_by_owner ON domains (tenant, level, owner);

ALTER TABLE custom_domains ADD COLUMN id TEXT NOT NULL DEFAULT '';
ALTER TABLE custom_domains ADD COLUMN tenant TEXT NOT NULL DEFAULT '';
ALTER TABLE custom_domains ADD COLUMN verified_at BIGINT;
ALTER TABLE custom_domains ADD COLUMN vouched INTEGER NOT NULL DEFAULT 0;
ALTER TABLE custom_domains ADD COLUMN created_at BIGINT NOT NULL DEFAULT 0;
ALTER TABLE custom_domains ADD COLUMN standing TEXT NOT NULL DEFAULT '{}';
ALTER TABLE custom_domains ADD COLUMN report TEXT;
ALTER TABLE custom_domains ADD COLUMN next_check BIGINT NOT NULL DEFAULT 0;
UPDATE custom_domains SET
    vouched = 1,
    id = lower(hex(randomblob(4)) || '-' || hex(randomblob(2)) || '-4' || substr(hex(randomblob(2)), 2)
        || '-8' || substr(hex(randomblob(2)), 2) || '-' || hex(randomblob(6))),
    tenant = (SELECT tenant FROM sandboxes WHERE sandboxes.id = custom_domains.sandbox),
    created_at = unixepoch() * 1000,
    verified_at = unixepoch() * 1000;
CREATE UNIQUE INDEX custom_domains_by_id ON custom_domains (id);
CREATE INDEX custom_domains_by_tenant ON custom_domains (tenant, created_at);
CREATE INDEX custom_domains_by_sandbox ON custom_domains (sandbox);
