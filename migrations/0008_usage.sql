-- Who owned a sandbox when: what was used belongs to whoever owned it then. The row without an end is the present one, and stays when
-- the sandbox is destroyed.
CREATE TABLE usage_owners (
    id INTEGER PRIMARY KEY,
    tenant TEXT NOT NULL REFERENCES tenants (id),
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    external_user_id TEXT,
    external_project_id TEXT,
    external_workspace_id TEXT,
    workspace_id TEXT,
    since BIGINT NOT NULL,
    until BIGINT
);
CREATE UNIQUE INDEX usage_owners_present ON usage_owners (sandbox) WHERE until IS NULL;
CREATE INDEX usage_owners_by_tenant ON usage_owners (tenant, external_user_id);
CREATE INDEX usage_owners_by_sandbox ON usage_owners (sandbox);

-- For how long a sandbox ran in which size, or (running = 0) only kept its disk. The row without an end is going on.
CREATE TABLE usage_spans (
    id INTEGER PRIMARY KEY,
    owner BIGINT NOT NULL REFERENCES usage_owners (id),
    sandbox TEXT NOT NULL REFERENCES sandboxes (id),
    running INTEGER NOT NULL,
    size TEXT,
    vcpus BIGINT NOT NULL,
    memory_mb BIGINT NOT NULL,
    disk_mb BIGINT NOT NULL,
    started_at BIGINT NOT NULL,
    ended_at BIGINT
);
CREATE UNIQUE INDEX usage_spans_open ON usage_spans (sandbox) WHERE ended_at IS NULL;
CREATE INDEX usage_spans_by_owner ON usage_spans (owner, started_at);

-- What visitors moved. A bucket begins at `bucket` and is `grain` milliseconds long; a share of '' is none, a node of '' is all of them.
CREATE TABLE usage_traffic (
    owner BIGINT NOT NULL REFERENCES usage_owners (id),
    bucket BIGINT NOT NULL,
    grain BIGINT NOT NULL,
    port INTEGER NOT NULL,
    share TEXT NOT NULL,
    node TEXT NOT NULL,
    requests BIGINT NOT NULL,
    bytes_in BIGINT NOT NULL,
    bytes_out BIGINT NOT NULL,
    websocket_ms BIGINT NOT NULL,
    status_1xx BIGINT NOT NULL,
    status_2xx BIGINT NOT NULL,
    status_3xx BIGINT NOT NULL,
    status_4xx BIGINT NOT NULL,
    status_5xx BIGINT NOT NULL,
    PRIMARY KEY (owner, bucket, grain, port, share, node)
) WITHOUT ROWID;
CREATE INDEX usage_traffic_by_age ON usage_traffic (grain, bucket);

-- Who writes counts, and the last batch of each, so that one that is written again is known.
CREATE TABLE usage_writers (
    node TEXT PRIMARY KEY,
    sequence BIGINT NOT NULL,
    seen_at BIGINT NOT NULL
);

-- What exists already is counted from now on.
INSERT INTO usage_owners (tenant, sandbox, external_user_id, external_project_id, external_workspace_id, workspace_id, since)
SELECT tenant, id, external_user_id, external_project_id, external_workspace_id, json_extract(attributes, '$.workspace_id'),
    CAST(unixepoch('subsec') * 1000 AS INTEGER)
FROM sandboxes;
INSERT INTO usage_spans (owner, sandbox, running, size, vcpus, memory_mb, disk_mb, started_at)
SELECT o.id, s.id, s.state = 'running', json_extract(s.attributes, '$.size'), coalesce(json_extract(s.attributes, '$.cpu_count'), 1),
    coalesce(json_extract(s.attributes, '$.memory_mb'), 0), coalesce(json_extract(s.attributes, '$.disk_size_mb'), 0), o.since
FROM sandboxes s JOIN usage_owners o ON o.sandbox = s.id
WHERE s.state IN ('running', 'paused') OR (s.state = 'stopped' AND json_extract(s.attributes, '$.persistent'));
