-- What is written to see whether anything can be.
CREATE TABLE write_probe (
    id INTEGER PRIMARY KEY CHECK (id = 1),
    tries BIGINT NOT NULL
);
