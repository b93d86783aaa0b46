-- +goose NO TRANSACTION
-- Each statement can be repeated, because a try that fails is repeated from the beginning.

-- +goose Up
SET lock_timeout = '3s';
-- The sum of the account's top-ups. The previous version of the service does not count its own.
ALTER TABLE payments.accounts ADD COLUMN IF NOT EXISTS deposited bigint NOT NULL DEFAULT 0; -- minor units
GRANT UPDATE (deposited) ON payments.accounts TO payments;
RESET lock_timeout;

SET statement_timeout = 0;
-- +goose StatementBegin
-- The top-ups so far, of a thousand accounts at a time, so that none is locked for long. They
-- are locked in the order in which the service locks them, and then their entries are read.
DO $$
DECLARE
    users bigint[];
    last  bigint := 0;
BEGIN
    LOOP
        users := ARRAY(SELECT user_id FROM payments.accounts WHERE user_id > last ORDER BY user_id LIMIT 1000 FOR UPDATE);
        EXIT WHEN users = '{}';
        UPDATE payments.accounts AS a SET deposited = least(t.deposited, 9223372036854775807)
        FROM (SELECT user_id, sum(amount) AS deposited FROM payments.entries
            WHERE user_id = ANY(users) AND kind = 'top_up' GROUP BY user_id) AS t
        WHERE a.user_id = t.user_id;
        last := users[cardinality(users)];
        COMMIT;
    END LOOP;
END
$$;
-- +goose StatementEnd
RESET statement_timeout;

-- +goose Down
ALTER TABLE payments.accounts DROP COLUMN deposited;
