import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initialState, reduce } from '../public/js/state.js';
import { chosen, ids, loaded, money, order, run } from './states.js';

test('responses for a previous user change nothing', () => {
  const state = run([chosen, { type: 'user/chosen', user: 2 }]);
  const late = [
    loaded([order('a')]),
    money(5n),
    { type: 'order/placed', about: 1, order: order('b') },
    { type: 'read/failed', about: 1, source: 'orders', text: 'x' },
  ];
  for (const action of late) assert.equal(reduce(state, action), state, action.type);
});

test('choosing a user drops the data of the previous user, but not the intents without an answer', () => {
  const notice = { topic: 'order', text: 'unknown', retry: { action: 'retry', label: 'x' } };
  const intent = { key: 'k', topic: 'order', user: 1, values: {}, at: 0, unknown: false };
  const state = run([
    chosen, loaded([order('a', 'PAID')]), money(5n), { type: 'statement/toggled', shown: true },
    { type: 'read/failed', source: 'account', text: 'x' }, { type: 'intent/sent', intent },
    { type: 'intent/failed', key: 'k', unknown: true, notice }, { type: 'stream/live', live: true }, { type: 'user/chosen', user: 2 },
  ]);
  const intents = { k: { ...intent, busy: false, unknown: true } };
  assert.deepEqual(state, { ...initialState, user: 2, intents, notices: { k: notice }, statement: { ...initialState.statement, shown: true } });
});

test('an account is unknown, then none, then open with its balance', () => {
  const none = run([chosen, { ...money(), account: null }]);
  assert.equal(initialState.account.status, 'unknown');
  assert.equal(none.account.status, 'none');
  assert.deepEqual(reduce(none, money(7n)).account, { status: 'open', balance: 7n, at: 9 });
});

test('the balance never contradicts the open statement', () => {
  const entry = (seq, balanceAfter) => ({ seq, balanceAfter, amount: 1n, kind: 'top_up' });
  const page = (...items) => ({ page: { items, nextCursor: '' } });
  const shown = run([chosen, money(5n), { type: 'statement/toggled', shown: true }, { ...money(5n), ...page(entry(2, 7n), entry(1, 5n)) }]);
  assert.equal(shown.account.balance, 7n, 'the balance must be that of the newest entry');
  const opened = run([chosen, { type: 'statement/toggled', shown: true }, { ...money(), account: null, ...page(entry(1, 5n)) }]);
  assert.deepEqual([opened.account.status, opened.account.balance], ['open', 5n]);
  const done = reduce(shown, { type: 'topUp/done', typed: '1' });
  assert.equal(done.account.balance, 7n, 'the balance must not change before the statement does');
  const reopened = run([{ type: 'statement/toggled', shown: false }, money(9n), { type: 'statement/toggled', shown: true }], shown);
  assert.deepEqual([reopened.account.balance, reopened.statement.items.length], [9n, 0], 'old entries must not be shown again');
  const late = run([{ type: 'statement/toggled', shown: false }, { ...money(8n), ...page(entry(3, 8n)) }], shown);
  assert.deepEqual([late.account.balance, late.statement.items.length], [8n, 0]);
});

test('orders are listed newest first and never revert to an older version', () => {
  const state = run([chosen, loaded([order('b'), order('a')]), { type: 'order/placed', order: order('c') }]);
  assert.equal(ids(state), 'cba');
  const paid = run([loaded([order('c', 'PAID'), order('b'), order('a')]), loaded([order('c'), order('b'), order('a')])], state);
  assert.equal(paid.orders.items[0].status, 'PAID');
});

test('a settled order is counted and announced once, with its reason', () => {
  const open = run([chosen, loaded([order('b'), order('a', 'PAID')])]);
  assert.equal(open.settled, 0, 'orders settled before the visit must not count');
  const cancelled = loaded([order('b', 'CANCELLED', 2, 'insufficient_funds'), order('a', 'PAID')]);
  const settled = reduce(open, cancelled);
  assert.equal(settled.settled, 1);
  assert.equal(settled.announcement.text, 'Order “Item b”: cancelled. There was not enough money in your account.');
  assert.equal(reduce(settled, cancelled).settled, 1);
  assert.equal(reduce(settled, cancelled).announcement, settled.announcement, 'nothing must be announced twice');
});

test('an order that was placed elsewhere and is already settled counts', () => {
  const state = run([chosen, loaded([]), loaded([order('a', 'PAID')])]);
  assert.equal(state.settled, 1);
});

test('an order that settles before the response to its placement is announced once', () => {
  const state = run([chosen, loaded([]), loaded([order('a', 'PAID')]), { type: 'order/placed', order: order('a') }]);
  assert.equal(state.orders.items[0].status, 'PAID');
  assert.equal(state.settled, 1);
  assert.match(state.announcement.text, /: paid/);
});

test('unknown statuses and reasons are shown unchanged, and an unknown status counts as open', () => {
  const odd = run([chosen, loaded([order('a')]), loaded([order('a', 'RESERVED', 2)])]);
  assert.equal(odd.settled, 0);
  const ended = reduce(odd, loaded([order('a', 'CANCELLED', 3, 'cosmic_rays')]));
  assert.match(ended.announcement.text, /cancelled\. cosmic_rays/);
});

test('older pages are appended, and a refresh keeps them', () => {
  const state = run([
    chosen, loaded([order('f'), order('e')], 'e'),
    { type: 'orders/olderLoaded', cursor: 'e', page: { items: [order('d'), order('c')], nextCursor: 'c' } },
    loaded([order('g'), order('f')], 'f'),
  ]);
  assert.equal(ids(state), 'gfedc');
  assert.equal(state.orders.nextCursor, 'c');
});

test('a page for an outdated cursor is dropped', () => {
  const state = run([chosen, loaded([order('f'), order('e')], 'e')]);
  const late = { type: 'orders/olderLoaded', cursor: 'z', page: { items: [order('a')], nextCursor: '' } };
  assert.deepEqual(reduce(state, late).orders, state.orders);
});

test('a refresh that does not reach the known orders restarts the list', () => {
  const state = run([chosen, loaded([order('b'), order('a')], 'a'), loaded([order('y'), order('x')], 'x')]);
  assert.equal(ids(state), 'yx');
  assert.equal(state.orders.nextCursor, 'x');
  assert.equal(ids(run([chosen, loaded([order('b')]), loaded([order('y'), order('x')])])), 'yxb', 'without a next page there is no gap, and known orders must stay');
});

test('statement pages are merged by sequence number', () => {
  const entry = (seq) => ({ seq, kind: 'top_up' });
  const state = run([
    chosen, { type: 'statement/toggled', shown: true },
    { ...money(), page: { items: [entry(10), entry(9)], nextCursor: '9' } },
    { type: 'statement/olderLoaded', cursor: '9', page: { items: [entry(8)], nextCursor: '' } },
    { ...money(), page: { items: [entry(11), entry(10)], nextCursor: '10' } },
  ]);
  assert.deepEqual(state.statement.items.map(({ seq }) => seq), [11, 10, 9, 8]);
  assert.deepEqual([state.statement.shown, state.statement.nextCursor], [true, '']);
});

test('a duplicate or older version of an order changes nothing', () => {
  const changed = (...orders) => ({ type: 'orders/changed', about: 1, orders });
  const state = run([chosen, loaded([order('a')]), changed(order('a', 'PAID', 2))]);
  assert.deepEqual([state.orders.items[0].status, state.settled], ['PAID', 1]);
  const after = run([changed(order('a', 'PAID', 2)), changed(order('a', 'NEW', 1))], state);
  assert.equal(after.orders.items[0], state.orders.items[0]);
  assert.deepEqual([after.settled, after.announcement], [1, state.announcement]);
});

test('the cancellation of a paid order counts as settled, even if intermediate steps were missed', () => {
  const paid = run([chosen, loaded([order('b', 'PAID', 2), order('a', 'PAID', 2)])]);
  assert.equal(paid.settled, 0);
  const changed = (...orders) => ({ type: 'orders/changed', orders });
  const cancelling = reduce(paid, changed(order('a', 'CANCELLING', 3)));
  assert.equal(cancelling.settled, 0);
  assert.equal(reduce(cancelling, changed(order('a', 'CANCELLED', 4, 'cancelled_by_user'))).settled, 1);
  assert.equal(reduce(paid, changed(order('b', 'CANCELLED', 4, 'cancelled_by_user'))).settled, 1);
});

test('a change beyond the end of the list is not inserted, but counts as settled', () => {
  const state = run([chosen, loaded([order('f'), order('e')], 'e'), { type: 'orders/changed', orders: [order('a', 'CANCELLED', 4, 'cancelled_by_user')] }]);
  assert.equal(ids(state), 'fe');
  assert.equal(state.settled, 1);
});

test('one cancellation at a time is confirmed, and only while the order can be cancelled', () => {
  const asked = run([chosen, loaded([order('b'), order('a')]), { type: 'cancel/asked', id: 'a' }, { type: 'cancel/asked', id: 'b' }]);
  assert.equal(asked.confirming, 'b');
  assert.equal(reduce(asked, { type: 'orders/changed', orders: [order('b', 'PAID', 2)] }).confirming, 'b', 'a paid order can still be cancelled');
  assert.equal(reduce(asked, { type: 'orders/changed', orders: [order('b', 'CANCELLED', 2, 'insufficient_funds')] }).confirming, '');
  assert.equal(reduce(asked, { type: 'cancel/asked', id: '' }).confirming, '');
});
