-- +goose Up
ALTER TABLE orders.orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders.orders
    -- It only widens: what is there need not be read.
    ADD CONSTRAINT orders_status_check CHECK (status IN ('NEW', 'PAID', 'CANCELLING', 'CANCELLED')) NOT VALID,
    -- The times of the saga, as the events brought them.
    ADD COLUMN published_at        timestamptz,
    ADD COLUMN charged_at          timestamptz,
    ADD COLUMN refused_at          timestamptz,
    ADD COLUMN confirmed_at        timestamptz,
    ADD COLUMN cancel_requested_at timestamptz,
    ADD COLUMN refunded_at         timestamptz,
    -- The transaction that changed the row last: what followers of orders resume by.
    ADD COLUMN changed_in          bigint NOT NULL DEFAULT 0;

CREATE TABLE orders.idempotency_keys (
    user_id     bigint      NOT NULL,
    operation   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    result      json        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, operation, key)
);
CREATE INDEX idempotency_keys_created_at ON orders.idempotency_keys USING brin (created_at) WITH (autosummarize = on);

-- +goose Down
DROP TABLE orders.idempotency_keys;
ALTER TABLE orders.orders
    DROP COLUMN changed_in, DROP COLUMN refunded_at, DROP COLUMN cancel_requested_at, DROP COLUMN confirmed_at,
    DROP COLUMN refused_at, DROP COLUMN charged_at, DROP COLUMN published_at;
ALTER TABLE orders.orders DROP CONSTRAINT orders_status_check;
ALTER TABLE orders.orders ADD CONSTRAINT orders_status_check CHECK (status IN ('NEW', 'PAID', 'CANCELLED'));
