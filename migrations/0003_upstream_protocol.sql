-- How a published port is spoken to: http, https or h2c.
ALTER TABLE previews ADD COLUMN protocol TEXT NOT NULL DEFAULT 'http';
