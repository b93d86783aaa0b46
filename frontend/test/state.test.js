import assert from 'node:assert/strict';
import { test } from 'node:test';
import { initialState, reduce, shownNotices } from '../public/js/state.js';

const order = (id, status = 'NEW', version = status === 'NEW' ? 1 : 2, reason = '') => ({ id, item: `Item ${id}`, price: 100n, status, version, reason });
const loaded = (items, nextCursor = '') => ({ type: 'orders/loaded', about: 1, page: { items, nextCursor } });
const run = (actions, state = initialState) => actions.reduce(reduce, state);
const chosen = { type: 'user/chosen', user: 1 };
const ids = (state) => state.orders.items.map(({ id }) => id).join('');

test('answers about a user who is no longer shown change nothing', () => {
  const state = run([chosen, { type: 'user/chosen', user: 2 }]);
  const late = [
    loaded([order('a')]),
    { type: 'account/loaded', about: 1, account: { balance: 5n } },
    { type: 'order/placed', about: 1, order: order('b') },
    { type: 'read/failed', about: 1, source: 'orders', text: 'x' },
  ];
  for (const action of late) assert.equal(reduce(state, action), state, action.type);
});

test('choosing a user forgets the other one’s things, but not what is unknown about them', () => {
  const notice = { text: 'not known', retry: { what: 'refresh', label: 'x' } };
  const state = run([
    chosen, loaded([order('a', 'PAID')]), { type: 'account/loaded', account: { balance: 5n } }, { type: 'statement/toggled', shown: true },
    { type: 'read/failed', source: 'account', text: 'x' }, { type: 'notice/shown', topic: 'order', notice }, { type: 'user/chosen', user: 2 },
  ]);
  assert.deepEqual(state, { ...initialState, user: 2, notices: { order: notice }, statement: { ...initialState.statement, shown: true } });
});

test('an account is unknown, then there is none, then it has its balance', () => {
  const none = run([chosen, { type: 'account/loaded', account: null }]);
  assert.equal(initialState.account.status, 'unknown');
  assert.equal(none.account.status, 'none');
  assert.deepEqual(reduce(none, { type: 'topUp/done', account: { balance: 7n } }).account, { status: 'open', balance: 7n });
});

test('an order is shown newest first and never goes back to an older version', () => {
  const state = run([chosen, loaded([order('b'), order('a')]), { type: 'order/placed', order: order('c') }]);
  assert.equal(ids(state), 'cba');
  const paid = run([loaded([order('c', 'PAID'), order('b'), order('a')]), loaded([order('c'), order('b'), order('a')])], state);
  assert.equal(paid.orders.items[0].status, 'PAID');
});

test('a settled order counts once and is told with its reason', () => {
  const open = run([chosen, loaded([order('b'), order('a', 'PAID')])]);
  assert.equal(open.settled, 0, 'what was settled before the visit is no news');
  const cancelled = loaded([order('b', 'CANCELLED', 2, 'insufficient_funds'), order('a', 'PAID')]);
  const settled = reduce(open, cancelled);
  assert.equal(settled.settled, 1);
  assert.equal(settled.said.text, 'Order “Item b”: cancelled. There was not enough money on the account.');
  assert.equal(reduce(settled, cancelled).settled, 1);
  assert.equal(reduce(settled, cancelled).said, settled.said, 'nothing is told twice');
});

test('an order placed elsewhere and already settled is news too', () => {
  const state = run([chosen, loaded([]), loaded([order('a', 'PAID')])]);
  assert.equal(state.settled, 1);
});

test('an order whose settling is seen before its placing is told once', () => {
  const state = run([chosen, loaded([]), loaded([order('a', 'PAID')]), { type: 'order/placed', order: order('a') }]);
  assert.equal(state.orders.items[0].status, 'PAID');
  assert.equal(state.settled, 1);
  assert.match(state.said.text, /: paid/);
});

test('an unknown status and an unknown reason are shown as they are, and may still change', () => {
  const odd = run([chosen, loaded([order('a')]), loaded([order('a', 'RESERVED', 2)])]);
  assert.equal(odd.settled, 0);
  const ended = reduce(odd, loaded([order('a', 'CANCELLED', 3, 'cosmic_rays')]));
  assert.match(ended.said.text, /cancelled\. cosmic_rays/);
});

test('older pages follow the list’s end, and a refresh keeps them', () => {
  const state = run([
    chosen, loaded([order('f'), order('e')], 'e'),
    { type: 'orders/olderLoaded', cursor: 'e', page: { items: [order('d'), order('c')], nextCursor: 'c' } },
    loaded([order('g'), order('f')], 'f'),
  ]);
  assert.equal(ids(state), 'gfedc');
  assert.equal(state.orders.nextCursor, 'c');
});

test('a page that was asked for at another end is dropped', () => {
  const state = run([chosen, loaded([order('f'), order('e')], 'e')]);
  const late = { type: 'orders/olderLoaded', cursor: 'z', page: { items: [order('a')], nextCursor: '' } };
  assert.deepEqual(reduce(state, late).orders, state.orders);
});

test('a refresh that does not reach the known orders starts the list over', () => {
  const state = run([chosen, loaded([order('b'), order('a')], 'a'), loaded([order('y'), order('x')], 'x')]);
  assert.equal(ids(state), 'yx');
  assert.equal(state.orders.nextCursor, 'x');
  assert.equal(ids(run([chosen, loaded([order('b')]), loaded([order('y'), order('x')])])), 'yxb', 'the last page has nothing behind it');
});

test('a statement is merged by its sequence', () => {
  const entry = (seq) => ({ seq, kind: 'top_up' });
  const state = run([
    chosen, { type: 'statement/toggled', shown: true },
    { type: 'statement/loaded', page: { items: [entry(10), entry(9)], nextCursor: '9' } },
    { type: 'statement/olderLoaded', cursor: '9', page: { items: [entry(8)], nextCursor: '' } },
    { type: 'statement/loaded', page: { items: [entry(11), entry(10)], nextCursor: '10' } },
  ]);
  assert.deepEqual(state.statement.items.map(({ seq }) => seq), [11, 10, 9, 8]);
  assert.deepEqual([state.statement.shown, state.statement.nextCursor], [true, '']);
});

test('a form is busy from sending to the answer, and a new try clears what was wrong', () => {
  const refused = run([chosen, { type: 'order/sent' }, { type: 'order/refused', errors: { item: 'is required' } }]);
  assert.deepEqual(refused.order, { busy: false, errors: { item: 'is required' } });
  assert.deepEqual(reduce(refused, { type: 'order/sent' }).order, { busy: true, errors: {} });
});

test('reads that fail share one notice until all succeed; dismissed, it stays away until then', () => {
  const failed = (source) => ({ type: 'read/failed', source, text: `${source} failed` });
  const succeeded = (source) => ({ type: 'read/succeeded', source });
  const texts = (state) => shownNotices(state).map(({ text }) => text);
  const failing = run([chosen, failed('account'), failed('orders')]);
  assert.deepEqual(texts(failing), ['account failed']);
  assert.deepEqual(texts(reduce(failing, succeeded('account'))), ['orders failed']);
  const dismissed = run([{ type: 'notice/dismissed', topic: 'read' }, failed('orders')], failing);
  assert.deepEqual(texts(dismissed), []);
  assert.deepEqual(texts(run([succeeded('account'), succeeded('orders'), failed('orders')], dismissed)), ['orders failed']);
});

test('a failed read never hides what is unknown about an order', () => {
  const notice = { text: 'not known', retry: { what: 'refresh', label: 'Look again' } };
  const state = run([chosen, { type: 'notice/shown', topic: 'order', notice }, { type: 'read/failed', source: 'orders', text: 'x' }, { type: 'read/succeeded', source: 'orders' }]);
  assert.deepEqual(shownNotices(state), [{ topic: 'order', ...notice }]);
  assert.deepEqual(shownNotices(reduce(state, { type: 'notice/dismissed', topic: 'order' })), []);
});
