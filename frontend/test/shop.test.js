import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { isBusy } from '../public/js/intents.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { order, startServer, until } from './server.js';

const reads = (request) => {
  if (request.url.startsWith('/orders/')) return { orders: [order('a')] };
  return request.url.includes('entries') ? { entries: [] } : { user_id: 1, balance: 5 };
};

// Opens a shop for user 1. write(request, response, body) answers its POST requests, and read(…) all others.
async function openShop(t, write, read = reads) {
  const server = await startServer(t, (request, response, body) => (request.method === 'POST' ? write : read)(request, response, body));
  const store = createStore(reduce, initialState);
  const shop = createShop(createApi({ base: server.base, timeout: 1_000 }), store, { retryDelays: [] });
  await shop.chooseUser(1);
  const posts = () => server.requests.filter(({ method }) => method === 'POST');
  return { shop, store, posts, requests: server.requests };
}

test('a placed order appears in the list at once', async (t) => {
  const { shop, store, posts } = await openShop(t, () => order('b', { item: 'Tea', price: 19.99 }));
  assert.equal(await shop.placeOrder({ item: '  Tea ', price: '19,99' }), true);
  assert.equal(posts()[0].body, '{"user_id":1,"item":"Tea","price":19.99}');
  assert.deepEqual(store.state.orders.items.map(({ id }) => id), ['b', 'a']);
  assert.equal(isBusy(store.state, 'order'), false);
  assert.deepEqual(store.state.order.done, { typed: { item: '  Tea ', price: '19,99' } });
});

test('invalid input is never sent', async (t) => {
  const { shop, store, posts } = await openShop(t, () => order('b'));
  const cases = [
    [{ item: ' ', price: '0' }, { item: /required/, price: /at least 0\.01/ }],
    [{ item: 'x'.repeat(201), price: '-5' }, { item: /200/, price: /plain number/ }],
    [{ item: 'a\u0007b', price: '1.999' }, { item: /control/, price: /two decimal places/ }],
  ];
  for (const [typed, errors] of cases) {
    assert.equal(await shop.placeOrder(typed), false);
    for (const field of Object.keys(errors)) assert.match(store.state.order.errors[field], errors[field]);
  }
  assert.equal(await shop.topUp('0'), false, 'a top-up of an open account must not be zero');
  assert.equal(posts().length, 0);
  assert.equal(await shop.placeOrder({ item: '😀'.repeat(200), price: '1' }), true, 'the limit must count characters, not UTF-16 units');
});

test('refusals are shown at their fields, or at the form', async (t) => {
  let errors = [{ pointer: '/price', detail: 'must be lower' }];
  const { shop, store } = await openShop(t, (request, response) => ((response.statusCode = 422), { detail: 'not acceptable', errors }));
  await shop.placeOrder({ item: 'Tea', price: '1' });
  assert.deepEqual(store.state.order.errors, { price: 'must be lower' });
  errors = undefined;
  await shop.placeOrder({ item: 'Tea', price: '1' });
  assert.deepEqual(store.state.order.errors, { form: 'not acceptable' });
  assert.deepEqual(store.state.notices, {});
});

test('a late response does not replace a newer one', async (t) => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  let accountReads = 0;
  const read = async (request) => {
    if (request.url !== '/accounts/1') return reads(request);
    accountReads += 1;
    const balance = accountReads;
    if (accountReads === 2) await held;
    return { user_id: 1, balance };
  };
  const { shop, store } = await openShop(t, undefined, read);
  const slow = shop.readMoney();
  await until(store, () => true);
  await shop.readMoney();
  release();
  await slow;
  assert.equal(accountReads, 3);
  assert.equal(store.state.account.balance, 300n);
});

test('open orders beyond the newest page are read one by one', async (t) => {
  const older = { orders: [order('b'), order('a', { status: 'PAID', version: 2 })] };
  const newest = { orders: [order('d', { status: 'PAID', version: 2 }), order('c')], next_cursor: 'c' };
  const read = (request) => {
    if (request.url.includes('cursor=c')) return older;
    if (request.url === '/orders/b') return order('b', { status: 'CANCELLED', cancel_reason: 'insufficient_funds', version: 2 });
    return request.url.startsWith('/orders/') ? newest : reads(request);
  };
  const { shop, store, requests } = await openShop(t, undefined, read);
  await shop.showMoreOrders();
  assert.equal(store.state.orders.nextCursor, '');
  await shop.readOpenOrders();
  assert.deepEqual(store.state.orders.items.map(({ id, status }) => id + status), ['dPAID', 'cNEW', 'bCANCELLED', 'aPAID']);
  assert.deepEqual(requests.filter(({ url }) => /^\/orders\/\w/.test(url)).map(({ url }) => url), ['/orders/b']);
  assert.equal(store.state.settled, 1);
});
