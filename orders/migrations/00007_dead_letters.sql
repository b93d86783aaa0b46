-- +goose Up
-- Dead letters that were collected from the broker. Package deadletters describes the states.
CREATE TABLE orders.dead_letters (
    id           uuid        PRIMARY KEY,         -- of the event
    state        text        NOT NULL CHECK (state IN ('open', 'retrying', 'retried', 'discarded')),
    queue        text        NOT NULL,            -- where it was found
    routing_key  text        NOT NULL,            -- that it was first published with
    reason       text        NOT NULL,            -- of its last failure
    failed_at    timestamptz NOT NULL,
    retries      bigint      NOT NULL DEFAULT 0,
    properties   json        NOT NULL,            -- of the message, with its headers
    original     bytea       NOT NULL,            -- the body that failed first
    body         bytea       NOT NULL,            -- the body of the next retry
    collected_at timestamptz NOT NULL DEFAULT now()
);
CREATE INDEX dead_letters_open ON orders.dead_letters (id) WHERE state IN ('open', 'retrying');

-- Who did what, when and why.
CREATE TABLE orders.dead_letter_actions (
    id        bigint      GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    letter_id uuid        NOT NULL REFERENCES orders.dead_letters,
    action    text        NOT NULL,
    operator  text        NOT NULL,
    at        timestamptz NOT NULL DEFAULT now(),
    reason    text        NOT NULL DEFAULT '', -- of the failure, or for discarding it
    body      bytea                            -- that an edit has set
);
CREATE INDEX dead_letter_actions_letter_id ON orders.dead_letter_actions (letter_id, id);
-- Append-only, for the service itself too.
REVOKE UPDATE, DELETE, TRUNCATE ON orders.dead_letter_actions FROM CURRENT_USER;

-- +goose Down
DROP TABLE orders.dead_letter_actions;
DROP TABLE orders.dead_letters;
