-- What end users may have. Scope 'user' is one user's, by the tenant's own id; scope 'tenant' the default of all (its subject is empty).
-- A row counts as a whole: NULL means no cap.
CREATE TABLE quotas (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    scope TEXT NOT NULL,
    subject TEXT NOT NULL,
    max_sandboxes BIGINT,
    max_concurrent BIGINT,
    max_storage_gb BIGINT,
    max_credit_cents BIGINT,
    updated_at BIGINT NOT NULL,
    PRIMARY KEY (tenant, scope, subject)
) WITHOUT ROWID;

-- When somebody was last told that a user had reached a quota.
CREATE TABLE quota_alerts (
    tenant TEXT NOT NULL REFERENCES tenants (id),
    external_user_id TEXT NOT NULL,
    quota TEXT NOT NULL,
    at BIGINT NOT NULL,
    PRIMARY KEY (tenant, external_user_id, quota)
) WITHOUT ROWID;

-- Everything that is counted against a quota, without a look at the sandboxes themselves.
CREATE INDEX sandboxes_counted ON sandboxes (tenant, external_user_id, state, destroyed_at, json_extract(attributes, '$.disk_size_mb'))
    WHERE destroyed_at IS NULL AND external_user_id IS NOT NULL;
