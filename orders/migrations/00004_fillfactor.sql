-- +goose Up
-- A batch settles the orders of one page in one transaction, which cannot reuse the space of
-- the versions that it replaces: keep room for a second version of each row, so that the
-- updates stay HOT. Applies to new pages.
ALTER TABLE orders.orders SET (fillfactor = 50);

-- +goose Down
ALTER TABLE orders.orders SET (fillfactor = 80);
