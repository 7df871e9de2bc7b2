-- Sandboxes are looked up by what people call them, among as many as there are.
CREATE INDEX sandboxes_by_name ON sandboxes (tenant, name) WHERE destroyed_at IS NULL;
CREATE INDEX sandboxes_by_slug ON sandboxes (tenant, slug) WHERE destroyed_at IS NULL;
