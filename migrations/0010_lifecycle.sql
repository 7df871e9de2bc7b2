-- What is to be done for a sandbox by a command of the operator's, since when it may be tried, and how often it has been.
ALTER TABLE sandboxes ADD COLUMN wanted TEXT;
ALTER TABLE sandboxes ADD COLUMN wanted_order BIGINT NOT NULL DEFAULT 0;
ALTER TABLE sandboxes ADD COLUMN wanted_at BIGINT;
ALTER TABLE sandboxes ADD COLUMN wanted_attempts INTEGER NOT NULL DEFAULT 0;
-- Why it is in state "error", in words that its owner may read.
ALTER TABLE sandboxes ADD COLUMN error TEXT;
-- Since when its lifetime counts, when that ends, and when it will have been idle for too long unless somebody visits it.
ALTER TABLE sandboxes ADD COLUMN timed_from BIGINT;
ALTER TABLE sandboxes ADD COLUMN expires_at BIGINT;
ALTER TABLE sandboxes ADD COLUMN idle_at BIGINT;
-- What runs already begins its lifetime now: until now nobody ended anything.
UPDATE sandboxes SET timed_from = CAST(unixepoch('subsec') * 1000 AS INTEGER) WHERE state = 'running';
UPDATE sandboxes SET expires_at = timed_from + json_extract(attributes, '$.timeout_sec') * 1000
    WHERE state = 'running' AND json_extract(attributes, '$.timeout_sec') IS NOT NULL;
UPDATE sandboxes SET idle_at = timed_from + json_extract(attributes, '$.idle_timeout_sec') * 1000
    WHERE state = 'running' AND json_extract(attributes, '$.idle_timeout_sec') > 0
    AND NOT coalesce(json_extract(attributes, '$.always_on'), 0);
CREATE INDEX sandboxes_wanted ON sandboxes (wanted_at) WHERE wanted IS NOT NULL;
CREATE INDEX sandboxes_expiring ON sandboxes (expires_at) WHERE expires_at IS NOT NULL;
CREATE INDEX sandboxes_idling ON sandboxes (idle_at) WHERE idle_at IS NOT NULL;
CREATE INDEX sandboxes_by_state ON sandboxes (tenant, state);

-- Work on many sandboxes at once. An item without an outcome is still to be done.
CREATE TABLE jobs (
    id TEXT PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    kind TEXT NOT NULL,
    total BIGINT NOT NULL,
    created_at BIGINT NOT NULL,
    finished_at BIGINT
);
CREATE INDEX jobs_open ON jobs (created_at) WHERE finished_at IS NULL;
CREATE INDEX jobs_by_tenant ON jobs (tenant, finished_at);
CREATE TABLE job_items (
    job TEXT NOT NULL REFERENCES jobs (id),
    sandbox TEXT NOT NULL,
    outcome TEXT,
    PRIMARY KEY (job, sandbox)
) WITHOUT ROWID;
CREATE INDEX job_items_open ON job_items (job) WHERE outcome IS NULL;
