-- +goose Up
-- The service runs as the role orders, which owns nothing. It may do exactly what its statements do: what was ordered,
-- by whom and for how much cannot be changed, and the actions of operators can only be added. UPDATE of a key column
-- is what FOR UPDATE needs. A migration that creates a table grants its privileges (TestPrivilegesOfTheService).
GRANT SELECT ON orders.goose_db_version TO orders; -- to wait for migrations
GRANT SELECT, INSERT, UPDATE (status, cancel_reason, version, updated_at, published_at, charged_at, refused_at,
    confirmed_at, cancel_requested_at, refunded_at, changed_in) ON orders.orders TO orders;
GRANT SELECT, INSERT, DELETE, UPDATE (id) ON orders.outbox TO orders;
GRANT SELECT, INSERT, DELETE, UPDATE (message_id) ON orders.inbox TO orders;
GRANT SELECT, INSERT, DELETE, UPDATE (key) ON orders.idempotency_keys TO orders;
GRANT SELECT, INSERT, UPDATE, DELETE ON orders.watched TO orders;
GRANT SELECT, UPDATE ON orders.watchdog TO orders;
GRANT SELECT, INSERT, UPDATE ON orders.audit, orders.comparison TO orders;
GRANT SELECT, INSERT, DELETE ON orders.differences TO orders;
GRANT SELECT, INSERT, UPDATE ON orders.dead_letters TO orders;
GRANT SELECT, INSERT ON orders.dead_letter_actions TO orders;

-- Only the owner of an index may summarize it.
CREATE FUNCTION orders.summarize() RETURNS integer LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp
    AS $$ SELECT brin_summarize_new_values('orders.orders_changed_in') $$;
REVOKE ALL ON FUNCTION orders.summarize() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION orders.summarize() TO orders;

-- +goose Down
DROP FUNCTION orders.summarize();
REVOKE ALL ON ALL TABLES IN SCHEMA orders FROM orders;
