-- +goose NO TRANSACTION
-- Each statement can be repeated, because a try that fails is repeated from the beginning.

-- +goose Up
SET lock_timeout = '3s';
-- The transaction that created the row, by which the audit finds new rows. It is NULL in the
-- rows that exist now, which the first audit reads. As a default, it is also set by the
-- previous version of the service.
ALTER TABLE payments.payments ADD COLUMN IF NOT EXISTS created_in bigint;
ALTER TABLE payments.payments ALTER COLUMN created_in SET DEFAULT pg_current_xact_id()::text::bigint;
RESET lock_timeout;

-- Up to where the audit has verified the payments: all that the snapshot sees. Sums are in
-- minor units.
CREATE TABLE IF NOT EXISTS payments.audit (
    id            boolean     PRIMARY KEY DEFAULT true CHECK (id), -- a single row
    version       bigint      NOT NULL,
    snapshot      pg_snapshot NOT NULL,
    verified_at   timestamptz NOT NULL,
    charged_count bigint      NOT NULL, -- succeeded and refunded
    charged_sum   bigint      NOT NULL,
    failed_count  bigint      NOT NULL,
    failed_sum    bigint      NOT NULL,
    voided_count  bigint      NOT NULL,
    voided_sum    bigint      NOT NULL
);

-- Up to where the audit has verified the entries of each account.
CREATE TABLE IF NOT EXISTS payments.audit_accounts (
    user_id  bigint PRIMARY KEY,
    seq      bigint NOT NULL,
    balance  bigint NOT NULL,
    money_in bigint NOT NULL, -- sum of the top-ups
    refunds  bigint NOT NULL, -- number of the refunds
    refunded bigint NOT NULL  -- sum of the refunds
) WITH (fillfactor = 50);

-- The differences that exist. Their accounts and orders are verified from the beginning
-- until they are resolved.
CREATE TABLE IF NOT EXISTS payments.audit_differences (
    id       text        NOT NULL,
    kind     text        NOT NULL,
    detail   text        NOT NULL,
    user_id  bigint,
    order_id uuid,
    found_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (id, kind)
);

SET statement_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS payments.payments_created_in;
CREATE INDEX CONCURRENTLY payments_created_in ON payments.payments USING brin (created_in) WITH (pages_per_range = 32, autosummarize = on);
RESET statement_timeout;

-- +goose Down
DROP INDEX CONCURRENTLY payments.payments_created_in;
DROP TABLE payments.audit_differences;
DROP TABLE payments.audit_accounts;
DROP TABLE payments.audit;
ALTER TABLE payments.payments DROP COLUMN created_in;
