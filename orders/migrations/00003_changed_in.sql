-- +goose NO TRANSACTION
-- Made beside the traffic, however long that takes on a large table. What a try that
-- failed has left behind is of no use.

-- +goose Up
SET statement_timeout = 0;
DROP INDEX CONCURRENTLY IF EXISTS orders.orders_changed_in;
-- What changed since a watermark. Unlike a B-tree it lets updates stay HOT, and recent
-- changes lie together, so the summary of each block range is all that it needs.
CREATE INDEX CONCURRENTLY orders_changed_in ON orders.orders USING brin (changed_in) WITH (pages_per_range = 32, autosummarize = on);
RESET statement_timeout;

-- +goose Down
DROP INDEX CONCURRENTLY orders.orders_changed_in;
