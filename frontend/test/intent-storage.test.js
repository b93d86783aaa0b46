import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { browserStorage, createIntentStorage } from '../public/js/intent-storage.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce, shownNotices } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { order, startServer } from './server.js';
import { TestStorage } from './storage.js';

const HOUR = 60 * 60 * 1000;
const lamp = { item: 'Lamp', price: '9999999999999.99' };

// Starts a shop that processes each key once, like the real one, and may not respond. `arrived` resolves at its first POST.
async function startShop(t, { answers = () => true } = {}) {
  const done = new Map();
  let arrive;
  const arrived = new Promise((resolve) => { arrive = resolve; });
  const server = await startServer(t, (request, response, body) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [order('a')] } : { user_id: 1, balance: 5, entries: [] };
    const key = request.headers['idempotency-key'];
    if (!done.has(key)) done.set(key, { url: request.url, body });
    arrive();
    if (!answers()) return undefined;
    return request.url === '/accounts/' ? { user_id: 1, balance: 6 } : order(request.url === '/orders/' ? 'b' : 'a');
  });
  return { server, arrived, done: () => [...done.values()] };
}

// Opens a page for user 1, wired as in main.js. It restores the intents that earlier pages left in the storage.
async function openPage(server, storage, { now = () => HOUR, timeout = 10_000 } = {}) {
  const store = createStore(reduce, initialState);
  const intentStorage = createIntentStorage(storage);
  store.subscribe((state, previous) => intentStorage.update(state.intents, previous.intents));
  const shop = createShop(createApi({ base: server.base, timeout }), store, { retryDelays: [], now, intentStorage });
  shop.restore();
  await shop.chooseUser(1);
  return { shop, store, intentStorage, notices: () => shownNotices(store.state) };
}

const requests = {
  order: { send: ({ shop }) => shop.placeOrder(lamp), text: /page was closed or reloaded before the shop responded.*order for “Lamp” was placed \(user 1\)/ },
  topUp: { send: ({ shop }) => shop.topUp('19.99'), text: /19\.99.₽ was added to your account/ },
  cancel: { send: ({ shop, store }) => shop.cancelOrder(store.state.orders.items[0]), text: /request to cancel “Laptop” went through/ },
};

for (const [topic, { send, text }] of Object.entries(requests)) {
  test(`a request without a response is offered for retry by the next page: ${topic}`, async (t) => {
    let answering = false;
    const { server, arrived, done } = await startShop(t, { answers: () => answering });
    const storage = new TestStorage();
    send(await openPage(server, storage)); // no response: this page is gone
    await arrived;
    const page = await openPage(server, storage);
    const [notice] = page.notices();
    assert.match(notice.text, text);
    assert.match(notice.text, /safe to try again/);
    assert.deepEqual([notice.topic, notice.retry.action], [topic, 'retry']);
    assert.equal(server.requests.filter(({ method }) => method === 'POST').length, 1, 'restoring must not send anything');

    answering = true;
    await page.shop.tryAgain(notice.id);
    assert.equal(done().length, 1, 'the retry must have the same key');
    assert.deepEqual([page.notices(), storage.length], [[], 0]);
  });

  test(`the same request after a reload has the same key: ${topic}`, async (t) => {
    let answering = false;
    const { server, arrived, done } = await startShop(t, { answers: () => answering });
    const storage = new TestStorage();
    send(await openPage(server, storage));
    await arrived;
    answering = true;
    const page = await openPage(server, storage);
    assert.equal(await send(page), true);
    assert.equal(done().length, 1);
    assert.deepEqual([page.notices(), storage.length], [[], 0]);
    await send(page);
    assert.equal(done().length, 2, 'once answered, the same request is a new intent');
  });
}

test('the same request in two tabs at the same time has one key', async (t) => {
  let answering = false;
  const { server, arrived, done } = await startShop(t, { answers: () => answering });
  const storage = new TestStorage();
  const [first, second] = [await openPage(server, storage, { timeout: 200 }), await openPage(server, storage)];
  const unanswered = first.shop.placeOrder(lamp);
  await arrived;
  answering = true;
  assert.equal(await second.shop.placeOrder(lamp), true);
  assert.equal(done().length, 1);
  assert.equal(await unanswered, false);
  assert.equal(await first.shop.tryAgain(first.notices()[0].id), true);
  assert.equal(done().length, 1);
});

test('a tab drops an intent that another tab settled, and reads again', async (t) => {
  let answering = false;
  const { server, arrived } = await startShop(t, { answers: () => answering });
  const storage = new TestStorage();
  requests.order.send(await openPage(server, storage));
  await arrived;
  answering = true;
  const [first, second] = [await openPage(server, storage), await openPage(server, storage)];
  const [{ id }] = first.notices();
  await second.shop.tryAgain(id);
  const before = server.requests.length;
  assert.equal(first.intentStorage.removedKey({ key: `gozon.intent.${id}`, newValue: null }), id);
  await first.shop.settledElsewhere(id);
  assert.deepEqual(first.notices(), []);
  assert.ok(server.requests.slice(before).some(({ url }) => url === '/accounts/1'));
  for (const event of [{ key: null, newValue: null }, { key: 'gozon.user', newValue: null }, { key: `gozon.intent.${id}`, newValue: '{}' }]) {
    assert.equal(first.intentStorage.removedKey(event), null);
  }
});

test('a day-old intent is never sent again, and its notice stays until dismissed', async (t) => {
  const { server, arrived, done } = await startShop(t, { answers: () => false });
  const storage = new TestStorage();
  requests.order.send(await openPage(server, storage));
  await arrived;
  for (const now of [() => 25 * HOUR, () => -25 * HOUR]) {
    const page = await openPage(server, storage, { now });
    const [notice] = page.notices();
    assert.match(notice.text, /too long ago.*Check your orders first/);
    assert.equal(notice.retry.action, 'refresh');
    await page.shop.tryAgain(notice.id);
    assert.equal(server.requests.filter(({ method }) => method === 'POST').length, 1);
  }
  const page = await openPage(server, storage, { now: () => 25 * HOUR });
  requests.order.send(page);
  assert.equal(Object.keys(page.store.state.intents).length, 2, 'the same request must be a new intent by now');
  assert.equal(done().length, 1, 'the new intent must not have arrived yet');
  page.shop.dismiss(page.notices()[0].id);
  assert.equal(storage.length, 1);
});

test('only intents that may have been processed stay saved', async (t) => {
  const storage = new TestStorage();
  const statuses = [503, 422, 404];
  const server = await startServer(t, (request, response) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [] } : { user_id: 1, balance: 5 };
    assert.equal(storage.length, 1, 'the intent must be saved before it is sent');
    response.statusCode = statuses.shift();
    return { detail: 'no' };
  });
  const page = await openPage(server, storage);
  while (statuses.length > 0) {
    await page.shop.placeOrder(lamp);
    assert.equal(storage.length, 0);
  }
});

test('a reused key ends the intent, and its outcome is reported as unknown', async (t) => {
  const storage = new TestStorage();
  const server = await startServer(t, (request, response) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [] } : { user_id: 1, balance: 5 };
    response.statusCode = 422;
    return { type: '/problems/idempotency-key-reused', detail: 'the key was used for another request' };
  });
  const page = await openPage(server, storage);
  await page.shop.placeOrder(lamp);
  const [notice] = page.notices();
  assert.match(notice.text, /do not know whether your order for “Lamp” was placed.*Check your orders/);
  assert.deepEqual([notice.retry.action, storage.length, page.store.state.intents], ['refresh', 0, {}]);
});

test('without storage the page works, and reports that leaving would lose an intent', async (t) => {
  const full = Object.assign(new TestStorage(), { setItem: () => { throw new DOMException('full', 'QuotaExceededError'); } });
  const blocked = browserStorage({ get localStorage() { throw new DOMException('no', 'SecurityError'); } });
  assert.equal(blocked, null);
  for (const storage of [full, blocked]) {
    const { server, done } = await startShop(t);
    const page = await openPage(server, storage);
    const placed = page.shop.placeOrder(lamp);
    assert.equal(page.intentStorage.hasUnsaved(), true);
    assert.equal(await placed, true);
    assert.equal(page.intentStorage.hasUnsaved(), false);
    assert.equal(done().length, 1);
  }
});

test('unreadable items are skipped and not removed', () => {
  const storage = new TestStorage();
  for (const text of ['', '{', 'null', '{"topic":"toString","user":1,"at":0,"values":"{}"}', '{"topic":"order","user":"1","at":0,"values":"{}"}',
    '{"topic":"topUp","user":1,"at":0,"values":"{\\"amount\\":1e5}"}']) storage.setItem(`gozon.intent.${storage.length}`, text);
  storage.setItem('gozon.user', '1');
  assert.deepEqual(createIntentStorage(storage).all(), {});
  assert.equal(storage.length, 7);
});
