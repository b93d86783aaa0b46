import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { isBusy } from '../public/js/intents.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { order, startPeer, until } from './peer.js';

const reads = (request) => {
  if (request.url.startsWith('/orders/')) return { orders: [order('a')] };
  return request.url.includes('entries') ? { entries: [] } : { user_id: 1, balance: 5 };
};

// A shop of user 1 whose reads succeed; write(request, response, body) answers its POSTs.
async function openShop(t, write, read = reads) {
  const peer = await startPeer(t, (request, response, body) => (request.method === 'POST' ? write : read)(request, response, body));
  const store = createStore(reduce, initialState);
  const shop = createShop(createApi({ base: peer.base, timeout: 1_000 }), store, { pauses: [] });
  await shop.chooseUser(1);
  const posts = () => peer.requests.filter(({ method }) => method === 'POST');
  return { shop, store, posts, requests: peer.requests };
}

test('a placed order is in the list at once', async (t) => {
  const { shop, store, posts } = await openShop(t, () => order('b', { item: 'Tea', price: 19.99 }));
  assert.equal(await shop.placeOrder({ item: '  Tea ', price: '19,99' }), true);
  assert.equal(posts()[0].body, '{"user_id":1,"item":"Tea","price":19.99}');
  assert.deepEqual(store.state.orders.items.map(({ id }) => id), ['b', 'a']);
  assert.equal(isBusy(store.state, 'order'), false);
  assert.deepEqual(store.state.order.done, { typed: { item: '  Tea ', price: '19,99' } });
});

test('what cannot be right is never sent', async (t) => {
  const { shop, store, posts } = await openShop(t, () => order('b'));
  const cases = [
    [{ item: ' ', price: '0' }, { item: /required/, price: /at least 0\.01/ }],
    [{ item: 'x'.repeat(201), price: '-5' }, { item: /200/, price: /plain number/ }],
    [{ item: 'a\u0007b', price: '1.999' }, { item: /control/, price: /two decimals/ }],
  ];
  for (const [typed, wrong] of cases) {
    assert.equal(await shop.placeOrder(typed), false);
    for (const field of Object.keys(wrong)) assert.match(store.state.order.errors[field], wrong[field]);
  }
  assert.equal(await shop.topUp('0'), false, 'an open account is not topped up by nothing');
  assert.equal(posts().length, 0);
  assert.equal(await shop.placeOrder({ item: '😀'.repeat(200), price: '1' }), true, 'characters are counted, not UTF-16 units');
});

test('what the shop refuses stands at its fields, and the rest at the form', async (t) => {
  let errors = [{ pointer: '/price', detail: 'must be lower' }];
  const { shop, store } = await openShop(t, (request, response) => ((response.statusCode = 422), { detail: 'not so', errors }));
  await shop.placeOrder({ item: 'Tea', price: '1' });
  assert.deepEqual(store.state.order.errors, { price: 'must be lower' });
  errors = undefined;
  await shop.placeOrder({ item: 'Tea', price: '1' });
  assert.deepEqual(store.state.order.errors, { form: 'not so' });
  assert.deepEqual(store.state.notices, {});
});

test('an older answer that comes late does not win over a newer one', async (t) => {
  let release;
  const held = new Promise((resolve) => { release = resolve; });
  let asked = 0;
  const read = async (request) => {
    if (request.url !== '/accounts/1') return reads(request);
    asked += 1;
    const balance = asked;
    if (asked === 2) await held;
    return { user_id: 1, balance };
  };
  const { shop, store } = await openShop(t, undefined, read);
  const slow = shop.readMoney();
  await until(store, () => true);
  await shop.readMoney();
  release();
  await slow;
  assert.equal(asked, 3);
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
