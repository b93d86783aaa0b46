-- +goose Up
-- Orders that wait for payments for long, and orders that are being cancelled.
CREATE TABLE orders.watched (
    order_id  uuid        PRIMARY KEY,
    since     timestamptz NOT NULL, -- when the order began to wait
    next_at   timestamptz NOT NULL, -- of the next inspection
    repeats   bigint      NOT NULL DEFAULT 0,
    repeat_at timestamptz           -- of the next repetition at the earliest; null until the order was found overdue
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);
CREATE INDEX watched_next_at ON orders.watched (next_at);

-- One row: what all replicas know about the sweeps.
CREATE TABLE orders.watchdog (
    only_row     boolean     PRIMARY KEY DEFAULT true CHECK (only_row),
    watermark    uuid        NOT NULL, -- every order with a lower id was examined once it was overdue
    patrol       uuid        NOT NULL, -- the next id of the patrol, which examines the orders below the watermark again
    swept_at     timestamptz NOT NULL DEFAULT now(),
    trusted_from timestamptz NOT NULL DEFAULT now() -- the end of the last interruption
);
-- The watermark begins at the smallest UUIDv7 of a day ago. Nothing here reads the table of
-- orders: the patrol will find older ones that still wait, and those that the previous version
-- of the service cancels during the update without adding them to orders.watched.
INSERT INTO orders.watchdog (watermark, patrol) VALUES (
    (lpad(to_hex((extract(epoch FROM now() - interval '1 day') * 1000)::bigint), 12, '0') || '70000000000000000000')::uuid,
    '00000000-0000-0000-0000-000000000000'
);

-- +goose Down
DROP TABLE orders.watchdog;
DROP TABLE orders.watched;
