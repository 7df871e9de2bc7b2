-- What the operator has taken down: a tenant, a sandbox, or one port of a sandbox. Rows stay when they are lifted, and when the tenant is
-- deleted.
CREATE TABLE blocks (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL,
    sandbox TEXT,
    port INTEGER,
    -- The host that the operator named, if it was a host.
    host TEXT,
    reason TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    lifted_at BIGINT
);
CREATE UNIQUE INDEX blocks_standing ON blocks (tenant, coalesce(sandbox, ''), coalesce(port, 0)) WHERE lifted_at IS NULL;
CREATE INDEX blocks_by_sandbox ON blocks (sandbox) WHERE lifted_at IS NULL;

-- Names that a blocked sandbox had when it was blocked: no other sandbox gets them while the block stands. Scopes are those of slugs; '*' is
-- that of exact host names.
CREATE TABLE held_names (
    scope TEXT NOT NULL,
    name TEXT NOT NULL,
    block TEXT NOT NULL REFERENCES blocks (id),
    sandbox TEXT NOT NULL,
    PRIMARY KEY (scope, name, block)
) WITHOUT ROWID;
CREATE INDEX held_names_by_block ON held_names (block);

-- What follows from the blocks that stand, for whoever reads a sandbox or a tenant: reason, since when, which ports.
ALTER TABLE sandboxes ADD COLUMN blocked TEXT;
ALTER TABLE tenants ADD COLUMN blocked TEXT;
-- A suspended tenant's keys and previews do not work; why, and since when.
ALTER TABLE tenants ADD COLUMN suspended TEXT;
-- A deleted tenant is emptied in steps, and then its row goes.
ALTER TABLE tenants ADD COLUMN deleted_at BIGINT;

-- What the server serves (zones, scheme, port), for commands that have only the data directory.
CREATE TABLE serving (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    facts TEXT NOT NULL
);

-- Deleting a sandbox's row looks for what refers to it.
CREATE INDEX previews_by_sandbox ON previews (sandbox);
CREATE INDEX usage_spans_by_sandbox ON usage_spans (sandbox);
