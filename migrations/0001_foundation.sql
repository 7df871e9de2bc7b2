-- Moments are milliseconds since 1970, UTC. Ids are UUIDs as text. JSON is text that no query looks into.

CREATE TABLE tenants (
    id TEXT PRIMARY KEY,
    name TEXT NOT NULL UNIQUE,
    branding TEXT,
    branding_version BIGINT NOT NULL DEFAULT 0,
    policy TEXT NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE domains (
    domain TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    verified_at BIGINT
);
CREATE INDEX domains_by_tenant ON domains (tenant);

CREATE TABLE api_keys (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    label TEXT NOT NULL,
    prefix TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT
);
CREATE INDEX api_keys_by_tenant ON api_keys (tenant);

CREATE TABLE sandboxes (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    slug TEXT NOT NULL,
    name TEXT,
    state TEXT NOT NULL,
    driver TEXT NOT NULL,
    upstream TEXT,
    address_generation BIGINT NOT NULL DEFAULT 0,
    token_generation BIGINT NOT NULL DEFAULT 0,
    default_port INTEGER NOT NULL,
    profile TEXT NOT NULL,
    external_user_id TEXT,
    external_project_id TEXT,
    external_workspace_id TEXT,
    metadata TEXT NOT NULL,
    tags TEXT NOT NULL,
    attributes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    started_at BIGINT,
    destroyed_at BIGINT
);
CREATE INDEX sandboxes_by_tenant ON sandboxes (tenant, created_at);
CREATE INDEX sandboxes_by_user ON sandboxes (tenant, external_user_id);

-- Where a slug leads: scope '' is the platform's zones, any other scope a tenant's domain.
CREATE TABLE slugs (
    scope TEXT NOT NULL,
    slug TEXT NOT NULL,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    PRIMARY KEY (scope, slug)
);
CREATE INDEX slugs_by_sandbox ON slugs (sandbox);

CREATE TABLE custom_domains (
    fqdn TEXT PRIMARY KEY,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    port INTEGER
);

CREATE TABLE previews (
    id TEXT PRIMARY KEY,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    port INTEGER NOT NULL,
    name TEXT,
    visibility TEXT NOT NULL,
    profile TEXT,
    metadata TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    expires_at BIGINT,
    deleted_at BIGINT
);
CREATE UNIQUE INDEX previews_active ON previews (sandbox, port) WHERE deleted_at IS NULL;

CREATE TABLE tokens (
    id TEXT PRIMARY KEY,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    port INTEGER,
    scope TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX tokens_by_sandbox ON tokens (sandbox, created_at);
CREATE INDEX tokens_revoked ON tokens (expires_at) WHERE revoked_at IS NOT NULL;

CREATE TABLE signing_keys (
    kid TEXT PRIMARY KEY,
    secret BLOB NOT NULL,
    created_at BIGINT NOT NULL
);

CREATE TABLE local_secrets (
    name TEXT PRIMARY KEY,
    value BLOB NOT NULL
);

CREATE TABLE idempotency (
    id TEXT PRIMARY KEY,
    fingerprint BLOB NOT NULL,
    sandbox TEXT NOT NULL,
    created_at BIGINT NOT NULL
);
CREATE INDEX idempotency_by_age ON idempotency (created_at);

-- What was written, in order. Followers re-read the subject.
CREATE TABLE changes (
    version INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    kind TEXT NOT NULL,
    subject TEXT NOT NULL
);
