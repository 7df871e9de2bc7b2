-- Workspaces: groups of sandboxes, with names of the tenant's own.
CREATE TABLE workspaces (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    name TEXT NOT NULL,
    slug TEXT NOT NULL,
    description TEXT,
    metadata TEXT NOT NULL,
    external_workspace_id TEXT,
    external_user_id TEXT,
    created_at BIGINT NOT NULL,
    updated_at BIGINT NOT NULL,
    deleted_at BIGINT
);
CREATE INDEX workspaces_by_tenant ON workspaces (tenant, id);
CREATE INDEX workspaces_by_name ON workspaces (tenant, name) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX workspaces_by_slug ON workspaces (tenant, slug) WHERE deleted_at IS NULL;
CREATE UNIQUE INDEX workspaces_by_external_id ON workspaces (tenant, external_workspace_id)
    WHERE deleted_at IS NULL AND external_workspace_id IS NOT NULL;

-- A key that is bound to one end user, and within a workspace if it names one.
ALTER TABLE api_keys ADD COLUMN external_user_id TEXT;
ALTER TABLE api_keys ADD COLUMN workspace_id TEXT;

-- Delegation tokens: what each of them is bound to. The token itself is not kept.
CREATE TABLE scoped_tokens (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    minted_by TEXT NOT NULL REFERENCES api_keys (id),
    user_id TEXT NOT NULL,
    external_user_id TEXT NOT NULL,
    workspace_id TEXT,
    sandboxes TEXT NOT NULL,
    scopes TEXT NOT NULL,
    created_at BIGINT NOT NULL,
    expires_at BIGINT NOT NULL,
    revoked_at BIGINT
);
CREATE INDEX scoped_tokens_by_tenant ON scoped_tokens (tenant, id);
CREATE INDEX scoped_tokens_by_age ON scoped_tokens (expires_at);

-- Who changed what, when and from where. Rows are only ever added.
CREATE TABLE audit_log (
    id INTEGER PRIMARY KEY AUTOINCREMENT,
    at BIGINT NOT NULL,
    tenant TEXT,
    actor_kind TEXT NOT NULL,
    actor TEXT NOT NULL,
    actor_label TEXT,
    external_user_id TEXT,
    action TEXT NOT NULL,
    subject_kind TEXT NOT NULL,
    subject TEXT NOT NULL,
    request_id TEXT,
    peer TEXT,
    user_agent TEXT,
    path TEXT,
    changes TEXT NOT NULL
);
CREATE INDEX audit_log_by_tenant ON audit_log (tenant, id);
CREATE INDEX audit_log_by_subject ON audit_log (subject, id);

CREATE TRIGGER audit_log_keeps_its_rows BEFORE DELETE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only ever added to');
END;
CREATE TRIGGER audit_log_keeps_their_words BEFORE UPDATE ON audit_log
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only ever added to');
END;
CREATE TRIGGER audit_log_replaces_nothing BEFORE INSERT ON audit_log
WHEN EXISTS (SELECT 1 FROM audit_log WHERE id = NEW.id)
BEGIN
    SELECT RAISE(ABORT, 'the audit log is only ever added to');
END;
