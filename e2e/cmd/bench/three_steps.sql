-- One order without batches: three steps with one commit each. They write the same rows as
-- the shop, but no relay publishes the events.
\set user random(1, :users)
SELECT gen_random_uuid() AS "order", gen_random_uuid() AS created, gen_random_uuid() AS paid \gset
BEGIN;
INSERT INTO bench.orders (id, user_id, item, price, status, version, created_at, updated_at)
	VALUES (:order, :user, 'Book', 100, 'NEW', 1, now(), now());
INSERT INTO bench.orders_outbox (id, type, subject, data, created_at)
	VALUES (:created, 'order.created.v1', :order, '{"order_id":"00000000-0000-7000-8000-000000000000","user_id":1,"amount_minor":100}', now());
COMMIT;
BEGIN;
INSERT INTO bench.payments_inbox (message_id) VALUES (:created) ON CONFLICT DO NOTHING;
SELECT balance, seq FROM bench.accounts WHERE user_id = :user FOR UPDATE \gset
UPDATE bench.accounts SET balance = balance - 100, seq = seq + 1 WHERE user_id = :user;
INSERT INTO bench.payments (order_id, user_id, amount, status, created_at, updated_at)
	VALUES (:order, :user, 100, 'succeeded', now(), now());
INSERT INTO bench.entries (user_id, seq, kind, debit, credit, amount, balance_after, order_id, created_at)
	VALUES (:user, :seq + 1, 'charge', 'user', 'shop', 100, :balance - 100, :order, now());
INSERT INTO bench.payments_outbox (id, type, subject, data, created_at)
	VALUES (:paid, 'payment.succeeded.v1', :order, '{"order_id":"00000000-0000-7000-8000-000000000000","user_id":1,"amount_minor":100}', now());
COMMIT;
BEGIN;
INSERT INTO bench.orders_inbox (message_id) VALUES (:paid) ON CONFLICT DO NOTHING;
UPDATE bench.orders SET status = 'PAID', version = version + 1, updated_at = now() WHERE id = :order AND status = 'NEW';
COMMIT;
