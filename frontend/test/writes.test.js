import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isBusy, newKey } from '../public/js/intents.js';
import { shownNotices } from '../public/js/state.js';
import { order, until } from './server.js';
import { cut, inFlight, inTurn, notice, openShop, placed, status, tea } from './writes.js';

test('keys are unique, also on a page that is not secure', () => {
  const insecure = { getRandomValues: (bytes) => globalThis.crypto.getRandomValues(bytes) };
  for (const make of [() => newKey(), () => newKey(insecure)]) {
    assert.match(make(), /^[0-9a-f-]{32,36}$/);
    assert.notEqual(make(), make());
  }
});

test('a second click while the first order is in flight sends nothing', async (t) => {
  const { shop, posts } = await openShop(t, placed);
  assert.deepEqual(await Promise.all([shop.placeOrder(tea), shop.placeOrder(tea)]), [true, false]);
  assert.equal(posts().length, 1);
});

test('each intent has its own key', async (t) => {
  const { shop, posts } = await openShop(t, ({ url }) => (url === '/orders/' ? order('b') : { user_id: 1, balance: 6 }));
  await shop.placeOrder(tea);
  await shop.placeOrder(tea);
  await shop.topUp('1');
  const keys = posts().map(({ key }) => key);
  assert.equal(new Set(keys).size, 3, 'once answered, the same content must be a new intent');
  for (const key of keys) assert.match(key, /^"[!-~]{1,253}"$/);
});

test('an unknown outcome is reported, the orders are read again, and the retry is the same request', async (t) => {
  for (const [name, first] of Object.entries({ 'bad gateway': status(502), 'gateway timeout': status(504), 'internal error': status(500), 'in flight': inFlight, 'cut connection': cut, 'no answer': () => undefined })) {
    await t.test(name, async (t) => {
      const { shop, store, posts, requests } = await openShop(t, inTurn(first, placed));
      const before = requests.length;
      assert.equal(await shop.placeOrder(tea), false);
      await until(store, () => requests.slice(before).some(({ method, url }) => method === 'GET' && url.startsWith('/orders/')));
      assert.match(notice(store).text, /do not know whether your order for “Tea” was placed \(user 1\).*safe to try again: it will not happen twice/);
      assert.deepEqual([notice(store).topic, notice(store).retry.action, isBusy(store.state, 'order')], ['order', 'retry', false]);

      assert.equal(await shop.tryAgain(notice(store).id), true);
      assert.deepEqual(posts()[1], posts()[0]);
      assert.deepEqual([store.state.notices, store.state.intents], [{}, {}]);
    });
  }
});

test('a definite failure is reported as not placed, and the retry has the same key', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(status(503, { detail: 'too busy' }), placed));
  await shop.placeOrder(tea);
  assert.equal(notice(store).text, 'Too busy. Your order for “Tea” was not placed. It is safe to try again.');
  await shop.tryAgain(notice(store).id);
  assert.deepEqual(posts()[1], posts()[0]);
});

test('a 503 to a retry does not settle an unknown outcome', async (t) => {
  const { shop, store } = await openShop(t, inTurn(cut, status(503)));
  await shop.placeOrder(tea);
  await shop.tryAgain(notice(store).id);
  assert.match(notice(store).text, /do not know/);
});

test('a definite refusal of a retry settles the intent', async (t) => {
  const { shop, store } = await openShop(t, inTurn(cut, status(422, { errors: [{ pointer: '/price', detail: 'must be lower' }] })));
  await shop.placeOrder(tea);
  await shop.tryAgain(notice(store).id);
  assert.deepEqual([store.state.notices, store.state.intents, store.state.order.errors], [{}, {}, { price: 'must be lower' }]);
});

test('the same content is the same intent until it is answered, other content is a new one', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(cut, status(503), placed));
  await shop.placeOrder(tea);
  await shop.placeOrder({ item: 'Lamp', price: '2' });
  assert.deepEqual(shownNotices(store.state).map(({ text }) => /know whether|not placed/.exec(text)[0]), ['know whether', 'not placed'], 'both notices must still be shown');
  await shop.placeOrder({ item: ' Tea ', price: '1.00' });
  const [first, other, retry] = posts();
  assert.deepEqual(retry, first);
  assert.notEqual(other.key, first.key);
  assert.equal(shownNotices(store.state).length, 1);
});

test('it retries by itself a few times, with the same key', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(cut, inFlight, placed), { retryDelays: [1, 1] });
  assert.equal(await shop.placeOrder(tea), true);
  assert.equal(new Set(posts().map(({ key, body }) => key + body)).size, 1);
  assert.equal(posts().length, 3);
  assert.deepEqual(store.state.notices, {});
});

test('it does not retry a refusal, and retries are limited', async (t) => {
  const refused = await openShop(t, status(422), { retryDelays: [1, 1] });
  await refused.shop.placeOrder(tea);
  assert.equal(refused.posts().length, 1);
  const down = await openShop(t, status(502), { retryDelays: [1, 1] });
  await down.shop.placeOrder(tea);
  assert.equal(down.posts().length, 3);
  let time = 0;
  const slow = await openShop(t, status(504), { retryDelays: [1, 1], now: () => (time += 11_000) });
  await slow.shop.placeOrder(tea);
  assert.equal(slow.posts().length, 1, 'it must not retry after ten seconds');
});

test('a retry is sent for the intent’s user, not for the current one', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(cut, cut, () => order('b', { user_id: 1 })));
  await shop.placeOrder(tea);
  await shop.chooseUser(2);
  await shop.placeOrder(tea);
  const [first, second] = posts();
  assert.notEqual(second.key, first.key, 'the same content of another user must be a new intent');
  const { id } = shownNotices(store.state).find(({ text }) => text.includes('(user 1)'));
  assert.equal(await shop.tryAgain(id), false);
  assert.deepEqual(posts()[2], first);
  assert.deepEqual(shownNotices(store.state).map(({ text }) => /user \d/.exec(text)[0]), ['user 2']);
  assert.ok(!store.state.orders.items.some((shown) => shown.id === 'b'));
  assert.equal(store.state.order.done, null);
});

test('a second click on Try again sends nothing', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(cut, placed));
  await shop.placeOrder(tea);
  const { id } = notice(store);
  await Promise.all([shop.tryAgain(id), shop.tryAgain(id), shop.placeOrder(tea)]);
  assert.equal(posts().length, 2);
});

test('a day-old intent is not sent again, because the shop may have dropped its key', async (t) => {
  let time = 0;
  const { shop, store, posts } = await openShop(t, inTurn(cut, placed), { now: () => time });
  await shop.placeOrder(tea);
  time = 24 * 60 * 60 * 1000;
  assert.equal(await shop.tryAgain(notice(store).id), false);
  assert.equal(posts().length, 1);
  assert.match(notice(store).text, /too long ago.*Check your orders first/);
  assert.equal(notice(store).retry.action, 'refresh');
  await shop.placeOrder(tea);
  assert.notEqual(posts()[1].key, posts()[0].key);
});

test('an order is cancelled once, and the response updates the list', async (t) => {
  const { shop, store, posts } = await openShop(t, (request, response) => ((response.statusCode = 202), order('a', { status: 'CANCELLING', version: 2 })));
  const [a] = store.state.orders.items;
  const both = Promise.all([shop.cancelOrder(a), shop.cancelOrder(a)]);
  assert.deepEqual([isBusy(store.state, 'cancel', 'a'), isBusy(store.state, 'cancel', 'b')], [true, false]);
  assert.deepEqual(await both, [true, false]);
  assert.deepEqual(posts().map(({ url, body }) => url + body), ['/orders/a/cancel']);
  assert.equal(store.state.orders.items[0].status, 'CANCELLING');
  assert.equal(store.state.announcement.text, 'Order “Laptop”: cancelling…');
});

test('a cancellation with an unknown outcome is retried with the same key', async (t) => {
  const { shop, store, posts } = await openShop(t, inTurn(status(504), () => order('a', { status: 'CANCELLING', version: 2 })));
  await shop.cancelOrder(store.state.orders.items[0]);
  assert.match(notice(store).text, /do not know whether your request to cancel “Laptop” went through/);
  await shop.tryAgain(notice(store).id);
  assert.deepEqual(posts()[1], posts()[0]);
  assert.deepEqual(store.state.notices, {});
});

test('a refused cancellation is explained, and the orders are read again', async (t) => {
  const { shop, store, requests } = await openShop(t, inTurn(status(409, { type: '/problems/not-cancellable' }), status(404, { detail: 'no such order' })));
  const before = requests.length;
  await shop.cancelOrder(store.state.orders.items[0]);
  assert.match(notice(store).text, /“Laptop” can no longer be cancelled/);
  assert.equal(notice(store).retry, undefined);
  await until(store, () => requests.slice(before).some(({ method }) => method === 'GET'));
  shop.dismiss(notice(store).id);
  await shop.cancelOrder(store.state.orders.items[0]);
  assert.equal(notice(store).text, 'Your order for “Laptop” was not cancelled. No such order.');
});
