import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isBusy } from '../public/js/intents.js';
import { reduce, shownNotices } from '../public/js/state.js';
import { chosen, loaded, order, run } from './states.js';

test('an intent that another tab settled is dropped, unless its request is in flight here', () => {
  const intent = { key: 'k', topic: 'order', user: 1, values: {} };
  const elsewhere = { type: 'intent/settledElsewhere', key: 'k' };
  const busy = run([chosen, { type: 'intent/sent', intent }]);
  assert.equal(reduce(busy, elsewhere), busy);
  const failed = reduce(busy, { type: 'intent/failed', key: 'k', unknown: true, notice: { topic: 'order', text: 'unknown' } });
  const dropped = reduce(failed, elsewhere);
  assert.deepEqual([dropped.intents, dropped.notices], [{}, {}]);
});

test('a form is busy until the response, and a retry clears its errors', () => {
  const intent = { key: 'k', topic: 'order', user: 1, values: {} };
  const refused = run([chosen, { type: 'intent/sent', intent }, { type: 'intent/settled', key: 'k' }, { type: 'order/refused', errors: { item: 'is required' } }]);
  assert.deepEqual([isBusy(refused, 'order'), refused.order.errors], [false, { item: 'is required' }]);
  const retried = reduce(refused, { type: 'intent/sent', intent });
  assert.deepEqual([isBusy(retried, 'order'), retried.order.errors], [true, {}]);
  assert.equal(isBusy(retried, 'topUp'), false);
  assert.equal(isBusy(reduce(retried, { type: 'user/chosen', user: 2 }), 'order'), false, 'the form of another user must not be busy');
});

test('an order that is being cancelled resolves the unknown outcome of its cancel request', () => {
  const intent = (id) => ({ key: `k${id}`, topic: 'cancel', user: 1, values: { id } });
  const failed = (id) => ({ type: 'intent/failed', key: `k${id}`, unknown: true, notice: { topic: 'cancel', text: id } });
  const state = run([
    chosen, loaded([order('b'), order('a')]), { type: 'intent/sent', intent: intent('a') }, failed('a'), { type: 'intent/sent', intent: intent('b') }, failed('b'),
    { type: 'orders/changed', orders: [order('a', 'CANCELLING', 2)] },
  ]);
  assert.deepEqual([Object.keys(state.intents), Object.keys(state.notices)], [['kb'], ['kb']]);
});

test('failed reads share one notice, and a dismissal lasts until all reads succeed', () => {
  const failed = (source) => ({ type: 'read/failed', source, text: `${source} failed` });
  const succeeded = (source) => ({ type: 'read/succeeded', source });
  const texts = (state) => shownNotices(state).map(({ text }) => text);
  const failing = run([chosen, failed('account'), failed('orders')]);
  assert.deepEqual(texts(failing), ['account failed']);
  assert.deepEqual(texts(reduce(failing, succeeded('account'))), ['orders failed']);
  const dismissed = run([{ type: 'notice/dismissed', id: 'read' }, failed('orders')], failing);
  assert.deepEqual(texts(dismissed), []);
  assert.deepEqual(texts(run([succeeded('account'), succeeded('orders'), failed('orders')], dismissed)), ['orders failed']);
});

test('a failed read never hides a notice about an order', () => {
  const notice = { topic: 'order', text: 'unknown', retry: { action: 'retry', label: 'Try again' } };
  const state = run([chosen, { type: 'notice/shown', id: 'k', notice }, { type: 'read/failed', source: 'orders', text: 'x' }, { type: 'read/succeeded', source: 'orders' }]);
  assert.deepEqual(shownNotices(state), [{ id: 'k', busy: false, ...notice }]);
  assert.deepEqual(shownNotices(reduce(state, { type: 'notice/dismissed', id: 'k' })), []);
});

test('dismissing a notice drops its intent, unless the request is in flight', () => {
  const intent = { key: 'k', topic: 'order', user: 1, values: {} };
  const failed = { type: 'intent/failed', key: 'k', unknown: true, notice: { topic: 'order', text: 'unknown' } };
  const dismissed = { type: 'notice/dismissed', id: 'k' };
  const state = run([chosen, { type: 'intent/sent', intent }, failed]);
  assert.deepEqual(reduce(state, dismissed).intents, {});
  const retried = run([{ type: 'intent/sent', intent }], state);
  assert.equal(shownNotices(retried)[0].busy, true, 'the notice must stay during a retry');
  assert.deepEqual(Object.keys(reduce(retried, dismissed).intents), ['k']);
});
