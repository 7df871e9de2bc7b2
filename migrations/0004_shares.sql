-- Links that open a sandbox, or one published port of it, without any other credential. `hash` finds a link by its token; `sealed`
-- is the token itself, encrypted, for as long as the link may be shown again.
CREATE TABLE shares (
    id TEXT PRIMARY KEY,
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    preview TEXT REFERENCES previews (id),
    port INTEGER,
    scope TEXT NOT NULL,
    hash BLOB NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    sealed BLOB,
    created_at BIGINT NOT NULL,
    expires_at BIGINT,
    revoked_at BIGINT,
    visits BIGINT NOT NULL DEFAULT 0,
    requests BIGINT NOT NULL DEFAULT 0,
    last_visited_at BIGINT
);
CREATE INDEX shares_by_sandbox ON shares (sandbox, created_at);
CREATE INDEX shares_by_preview ON shares (preview) WHERE preview IS NOT NULL;
