-- +goose Up
-- Constraints that only widen need not read what is there (NOT VALID).
ALTER TABLE payments.payments DROP CONSTRAINT payments_status_check;
ALTER TABLE payments.payments
    ADD CONSTRAINT payments_status_check CHECK (status IN ('succeeded', 'failed', 'voided', 'refunded')) NOT VALID,
    -- When the order's event was published: it goes back to orders with the decision.
    ADD COLUMN published_at timestamptz;

ALTER TABLE payments.entries DROP CONSTRAINT entries_check;
ALTER TABLE payments.entries
    ADD CONSTRAINT entries_check CHECK ((kind, debit, credit) IN
        (('top_up', 'external', 'user'), ('charge', 'user', 'shop'), ('refund', 'shop', 'user'))) NOT VALID;

CREATE TABLE payments.idempotency_keys (
    user_id     bigint      NOT NULL,
    operation   text        NOT NULL,
    key         text        NOT NULL,
    fingerprint bytea       NOT NULL,
    result      json        NOT NULL,
    created_at  timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (user_id, operation, key)
);
CREATE INDEX idempotency_keys_created_at ON payments.idempotency_keys USING brin (created_at) WITH (autosummarize = on);

-- +goose Down
DROP TABLE payments.idempotency_keys;
ALTER TABLE payments.entries DROP CONSTRAINT entries_check;
ALTER TABLE payments.entries
    ADD CONSTRAINT entries_check CHECK ((kind, debit, credit) IN (('top_up', 'external', 'user'), ('charge', 'user', 'shop')));
ALTER TABLE payments.payments DROP COLUMN published_at;
ALTER TABLE payments.payments DROP CONSTRAINT payments_status_check;
ALTER TABLE payments.payments ADD CONSTRAINT payments_status_check CHECK (status IN ('succeeded', 'failed'));
