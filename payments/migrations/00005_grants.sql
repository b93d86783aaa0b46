-- +goose Up
-- The service runs as the role payments, which owns nothing. It may do exactly what its statements do: entries can
-- only be added, and what was charged to whom cannot be changed. UPDATE of a key column is what FOR UPDATE needs. A
-- migration that creates a table grants its privileges (TestPrivilegesOfTheService).
GRANT SELECT ON payments.goose_db_version TO payments; -- to wait for migrations
GRANT SELECT, INSERT, UPDATE (balance, seq) ON payments.accounts TO payments;
GRANT SELECT, INSERT, UPDATE (status, updated_at) ON payments.payments TO payments;
GRANT SELECT, INSERT ON payments.entries TO payments;
GRANT SELECT, INSERT, DELETE, UPDATE (id) ON payments.outbox TO payments;
GRANT SELECT, INSERT, DELETE, UPDATE (message_id) ON payments.inbox TO payments;
GRANT SELECT, INSERT, DELETE, UPDATE (key) ON payments.idempotency_keys TO payments;
GRANT SELECT, INSERT, UPDATE ON payments.audit, payments.audit_accounts TO payments;
GRANT SELECT, INSERT, DELETE ON payments.audit_differences TO payments;
GRANT SELECT, INSERT, UPDATE ON payments.dead_letters TO payments;
GRANT SELECT, INSERT ON payments.dead_letter_actions TO payments;

-- Only the owner of an index may summarize it.
CREATE FUNCTION payments.summarize() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT brin_summarize_new_values('payments.payments_created_in') $$;
REVOKE ALL ON FUNCTION payments.summarize() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION payments.summarize() TO payments;

-- +goose Down
DROP FUNCTION payments.summarize();
REVOKE ALL ON ALL TABLES IN SCHEMA payments FROM payments;
