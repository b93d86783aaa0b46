-- +goose Up
CREATE TABLE orders.orders (
    id            uuid        PRIMARY KEY,
    user_id       bigint      NOT NULL CHECK (user_id > 0),
    item          text        NOT NULL CHECK (length(item) BETWEEN 1 AND 200),
    price         bigint      NOT NULL CHECK (price > 0), -- minor units
    status        text        NOT NULL CHECK (status IN ('NEW', 'PAID', 'CANCELLED')),
    cancel_reason text,
    version       bigint      NOT NULL CHECK (version > 0),
    created_at    timestamptz NOT NULL,
    updated_at    timestamptz NOT NULL,
    CHECK ((status = 'CANCELLED') = (cancel_reason IS NOT NULL))
) WITH (fillfactor = 80); -- room for the settled version on the same page: the update stays HOT

-- The list of a user's orders, by keyset.
CREATE INDEX orders_user_id_id ON orders.orders (user_id, id);

-- Rows live for milliseconds: vacuum by count, not by a share of an empty table.
CREATE TABLE orders.outbox (
    id          uuid        PRIMARY KEY,
    type        text        NOT NULL,
    subject     text        NOT NULL,
    data        json        NOT NULL,
    traceparent text,
    created_at  timestamptz NOT NULL
) WITH (autovacuum_vacuum_scale_factor = 0, autovacuum_vacuum_threshold = 5000);

CREATE TABLE orders.inbox (
    message_id  uuid        PRIMARY KEY,
    received_at timestamptz NOT NULL DEFAULT now()
);

-- +goose Down
DROP TABLE orders.inbox;
DROP TABLE orders.outbox;
DROP TABLE orders.orders;
