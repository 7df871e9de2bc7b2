-- What happened, in the words that a tenant's backend is told. Written in the transaction of the change it tells of.
CREATE TABLE events (
    seq INTEGER PRIMARY KEY AUTOINCREMENT,
    id TEXT NOT NULL UNIQUE,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    at BIGINT NOT NULL,
    sandbox TEXT,
    workspace TEXT,
    external_workspace_id TEXT,
    external_user_id TEXT,
    data TEXT NOT NULL
);
CREATE INDEX events_by_tenant ON events (tenant, seq);
CREATE INDEX events_by_age ON events (at);

CREATE TABLE webhooks (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    workspace TEXT,
    name TEXT,
    description TEXT,
    url TEXT NOT NULL,
    events TEXT NOT NULL,
    -- Sealed, like every secret in this file; the one before is valid until the moment beside it.
    secret BLOB NOT NULL,
    secret_preview TEXT NOT NULL,
    old_secret BLOB,
    old_secret_until BIGINT,
    state TEXT NOT NULL,
    headers TEXT NOT NULL,
    retry_count INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    -- Attempts, and deliveries given up, that failed one after the other.
    failures BIGINT NOT NULL DEFAULT 0,
    given_up BIGINT NOT NULL DEFAULT 0,
    last_triggered_at BIGINT,
    last_status INTEGER,
    -- When the first of its deliveries is due; null while nothing waits or it is not active.
    due_at BIGINT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL
);
CREATE INDEX webhooks_by_tenant ON webhooks (tenant, created_at);
-- Those that failed last wait in a line of their own.
CREATE INDEX webhooks_due ON webhooks (failures > 0, due_at) WHERE due_at IS NOT NULL;

CREATE TABLE deliveries (
    id TEXT PRIMARY KEY,
    webhook TEXT NOT NULL REFERENCES webhooks (id) ON DELETE CASCADE,
    event BIGINT NOT NULL,
    state TEXT NOT NULL,
    attempts INTEGER NOT NULL DEFAULT 0,
    -- When it is tried (again); while it is being tried, when its attempt is taken for lost. Null once it is settled.
    next_at BIGINT,
    created_at BIGINT NOT NULL,
    delivered_at BIGINT,
    status INTEGER,
    body TEXT,
    error TEXT,
    duration_ms BIGINT,
    replay_of TEXT,
    replay_id TEXT
);
CREATE INDEX deliveries_due ON deliveries (webhook, next_at) WHERE next_at IS NOT NULL;
CREATE INDEX deliveries_by_webhook ON deliveries (webhook, created_at);
CREATE INDEX deliveries_by_age ON deliveries (created_at);
CREATE INDEX deliveries_by_event ON deliveries (event);
CREATE UNIQUE INDEX deliveries_replays ON deliveries (webhook, replay_id) WHERE replay_id IS NOT NULL;
