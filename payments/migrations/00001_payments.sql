-- +goose Up
CREATE TABLE payments.accounts (
    user_id    bigint      PRIMARY KEY CHECK (user_id > 0),
    balance    bigint      NOT NULL CHECK (balance >= 0), -- minor units
    seq        bigint      NOT NULL CHECK (seq >= 0),     -- of the newest entry
    created_at timestamptz NOT NULL
) WITH (fillfactor = 50); -- the row that changes with every order: room to stay HOT

-- The decision about each order, kept for ever.
CREATE TABLE payments.payments (
    order_id   uuid        PRIMARY KEY,
    user_id    bigint      NOT NULL,
    amount     bigint      NOT NULL CHECK (amount > 0), -- minor units
    status     text        NOT NULL CHECK (status IN ('succeeded', 'failed')),
    reason     text,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    CHECK ((status = 'failed') = (reason IS NOT NULL))
);

-- Both legs of each movement of money, numbered within the account.
CREATE TABLE payments.entries (
    user_id       bigint      NOT NULL,
    seq           bigint      NOT NULL CHECK (seq > 0),
    kind          text        NOT NULL,
    debit         text        NOT NULL,
    credit        text        NOT NULL,
    amount        bigint      NOT NULL CHECK (amount > 0),         -- minor units
    balance_after bigint      NOT NULL CHECK (balance_after >= 0), -- minor units
    order_id      uuid,
    created_at    timestamptz NOT NULL,
    PRIMARY KEY (user_id, seq),
    CHECK ((kind, debit, credit) IN (('top_up', 'external', 'user'), ('charge', 'user', 'shop'))),
    CHECK ((kind = 'top_up') = (order_id IS NULL))
);
-- Append-only, for the service itself too: a correction is a new entry.
REVOKE UPDATE, DELETE, TRUNCATE ON payments.entries FROM CURRENT_USER;

-- Rows live for milliseconds: vacuum by count, not by a share of an empty table.
CREATE TABLE payments.outbox (
    id          uuid        PRIMARY KEY,
    type        text        NOT NULL,
    subject     text        NOT NULL,
    data        json        NOT NULL,
    traceparent text,
    created_at  timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE payments.inbox (
    message_id  uuid        PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE payments.inbox;
DROP TABLE payments.outbox;
DROP TABLE payments.entries;
DROP TABLE payments.payments;
DROP TABLE payments.accounts;
