-- +goose Up
ALTER TABLE orders.orders ADD COLUMN created_in bigint;
-- The transaction that created the row, by which the audit tells new rows from changed ones.
-- It is NULL in the rows that exist now, which the first audit reads. As a default, it is
-- also set by the previous version of the service.
ALTER TABLE orders.orders ALTER COLUMN created_in SET DEFAULT pg_current_xact_id()::text::bigint;

-- What the audit has counted: all that the snapshot sees. Sums are in minor units.
CREATE TABLE orders.audit (
    id              boolean     PRIMARY KEY DEFAULT true CHECK (id), -- a single row
    version         bigint      NOT NULL,
    snapshot        pg_snapshot NOT NULL,
    paid_count      bigint      NOT NULL,
    paid_sum        bigint      NOT NULL,
    cancelled_count bigint      NOT NULL,
    cancelled_sum   bigint      NOT NULL,
    in_flight       uuid[]      NOT NULL -- NEW and CANCELLING
);

-- Up to where orders are compared with their payments: all that the snapshot sees, up to the id.
CREATE TABLE orders.comparison (
    id          boolean     PRIMARY KEY DEFAULT true CHECK (id), -- a single row
    snapshot    pg_snapshot NOT NULL,
    position    uuid        NOT NULL,
    compared_at timestamptz NOT NULL
);

-- The differences that exist. They are compared again until they are resolved.
CREATE TABLE orders.differences (
    order_id uuid        PRIMARY KEY,
    kind     text        NOT NULL,
    detail   text        NOT NULL,
    found_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE orders.differences;
DROP TABLE orders.comparison;
DROP TABLE orders.audit;
ALTER TABLE orders.orders DROP COLUMN created_in;
