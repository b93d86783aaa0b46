import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { createKept, storageOf } from '../public/js/kept.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce, shownNotices } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { order, startPeer } from './peer.js';
import { TestStorage } from './storage.js';

const HOUR = 60 * 60 * 1000;
const lamp = { item: 'Lamp', price: '9999999999999.99' };

// A shop that does each key once, as the real one does, and may not answer. `arrived` is when it got its first POST.
async function startShop(t, { answers = () => true } = {}) {
  const done = new Map();
  let arrive;
  const arrived = new Promise((resolve) => { arrive = resolve; });
  const peer = await startPeer(t, (request, response, body) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [order('a')] } : { user_id: 1, balance: 5, entries: [] };
    const key = request.headers['idempotency-key'];
    if (!done.has(key)) done.set(key, { url: request.url, body });
    arrive();
    if (!answers()) return undefined;
    return request.url === '/accounts/' ? { user_id: 1, balance: 6 } : order(request.url === '/orders/' ? 'b' : 'a');
  });
  return { peer, arrived, done: () => [...done.values()] };
}

// A page of user 1, as main.js ties its parts. One that is opened on a storage finds what pages before it left there.
async function openPage(peer, storage, { now = () => HOUR, timeout = 10_000 } = {}) {
  const store = createStore(reduce, initialState);
  const kept = createKept(storage);
  store.subscribe((state, before) => kept.update(state.intents, before.intents));
  const shop = createShop(createApi({ base: peer.base, timeout }), store, { pauses: [], now, kept });
  shop.restore();
  await shop.chooseUser(1);
  return { shop, store, kept, notices: () => shownNotices(store.state) };
}

const asks = {
  order: { ask: ({ shop }) => shop.placeOrder(lamp), words: /order for “Lamp” was placed \(user 1\): the page was left before the answer/ },
  topUp: { ask: ({ shop }) => shop.topUp('19.99'), words: /19\.99.₽ was added to the account/ },
  cancel: { ask: ({ shop, store }) => shop.cancelOrder(store.state.orders.items[0]), words: /order for “Laptop” is being cancelled/ },
};

for (const [topic, { ask, words }] of Object.entries(asks)) {
  test(`a page that was left before the answer is followed by one that knows: ${topic}`, async (t) => {
    let answering = false;
    const { peer, arrived, done } = await startShop(t, { answers: () => answering });
    const storage = new TestStorage();
    ask(await openPage(peer, storage)); // never answered: the page is gone
    await arrived;
    const page = await openPage(peer, storage);
    const [notice] = page.notices();
    assert.match(notice.text, words);
    assert.match(notice.text, /safe to try again/);
    assert.deepEqual([notice.topic, notice.retry.what], [topic, 'again']);
    assert.equal(peer.requests.filter(({ method }) => method === 'POST').length, 1, 'only the visitor spends money');

    answering = true;
    await page.shop.tryAgain(notice.id);
    assert.equal(done().length, 1, 'it was done under one key');
    assert.deepEqual([page.notices(), storage.length], [[], 0]);
  });

  test(`the same asked for after a reload is the same: ${topic}`, async (t) => {
    let answering = false;
    const { peer, arrived, done } = await startShop(t, { answers: () => answering });
    const storage = new TestStorage();
    ask(await openPage(peer, storage));
    await arrived;
    answering = true;
    const page = await openPage(peer, storage);
    assert.equal(await ask(page), true);
    assert.equal(done().length, 1);
    assert.deepEqual([page.notices(), storage.length], [[], 0]);
    await ask(page);
    assert.equal(done().length, 2, 'once answered, it is another');
  });
}

test('two tabs that ask for the same at the same time ask for one thing', async (t) => {
  let answering = false;
  const { peer, arrived, done } = await startShop(t, { answers: () => answering });
  const storage = new TestStorage();
  const [first, second] = [await openPage(peer, storage, { timeout: 200 }), await openPage(peer, storage)];
  const unanswered = first.shop.placeOrder(lamp);
  await arrived;
  answering = true;
  assert.equal(await second.shop.placeOrder(lamp), true);
  assert.equal(done().length, 1);
  assert.equal(await unanswered, false);
  assert.equal(await first.shop.tryAgain(first.notices()[0].id), true);
  assert.equal(done().length, 1);
});

test('a tab forgets what another one got the answer to, and looks again', async (t) => {
  let answering = false;
  const { peer, arrived } = await startShop(t, { answers: () => answering });
  const storage = new TestStorage();
  asks.order.ask(await openPage(peer, storage));
  await arrived;
  answering = true;
  const [first, second] = [await openPage(peer, storage), await openPage(peer, storage)];
  const [{ id }] = first.notices();
  await second.shop.tryAgain(id);
  const before = peer.requests.length;
  assert.equal(first.kept.removedBy({ key: `gozon.intent.${id}`, newValue: null }), id);
  await first.shop.settledElsewhere(id);
  assert.deepEqual(first.notices(), []);
  assert.ok(peer.requests.slice(before).some(({ url }) => url === '/accounts/1'));
  for (const event of [{ key: null, newValue: null }, { key: 'gozon.user', newValue: null }, { key: `gozon.intent.${id}`, newValue: '{}' }]) {
    assert.equal(first.kept.removedBy(event), null);
  }
});

test('what is a day old is never sent again, and says so until it is dismissed', async (t) => {
  const { peer, arrived, done } = await startShop(t, { answers: () => false });
  const storage = new TestStorage();
  asks.order.ask(await openPage(peer, storage));
  await arrived;
  for (const now of [() => 25 * HOUR, () => -25 * HOUR]) {
    const page = await openPage(peer, storage, { now });
    const [notice] = page.notices();
    assert.match(notice.text, /too long ago.*look at the list of orders/);
    assert.equal(notice.retry.what, 'refresh');
    await page.shop.tryAgain(notice.id);
    assert.equal(peer.requests.filter(({ method }) => method === 'POST').length, 1);
  }
  const page = await openPage(peer, storage, { now: () => 25 * HOUR });
  asks.order.ask(page);
  assert.equal(Object.keys(page.store.state.intents).length, 2, 'the same is another order by now');
  assert.equal(done().length, 1, 'which is yet to arrive');
  page.shop.dismiss(page.notices()[0].id);
  assert.equal(storage.length, 1);
});

test('only what may have been done is kept', async (t) => {
  const storage = new TestStorage();
  const statuses = [503, 422, 404];
  const peer = await startPeer(t, (request, response) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [] } : { user_id: 1, balance: 5 };
    assert.equal(storage.length, 1, 'it is kept before it is sent');
    response.statusCode = statuses.shift();
    return { detail: 'no' };
  });
  const page = await openPage(peer, storage);
  while (statuses.length > 0) {
    await page.shop.placeOrder(lamp);
    assert.equal(storage.length, 0);
  }
});

test('a key that the shop knows for another request ends its intent, and nothing is claimed about it', async (t) => {
  const storage = new TestStorage();
  const peer = await startPeer(t, (request, response) => {
    if (request.method !== 'POST') return request.url.startsWith('/orders/') ? { orders: [] } : { user_id: 1, balance: 5 };
    response.statusCode = 422;
    return { type: '/problems/idempotency-key-reused', detail: 'the key was used for another request' };
  });
  const page = await openPage(peer, storage);
  await page.shop.placeOrder(lamp);
  const [notice] = page.notices();
  assert.match(notice.text, /not known whether the order for “Lamp” was placed.*Look at the list of orders/);
  assert.deepEqual([notice.retry.what, storage.length, page.store.state.intents], ['refresh', 0, {}]);
});

test('without a storage it works as long as the page is there, and says what leaving it would forget', async (t) => {
  const full = Object.assign(new TestStorage(), { setItem: () => { throw new DOMException('full', 'QuotaExceededError'); } });
  const blocked = storageOf({ get localStorage() { throw new DOMException('no', 'SecurityError'); } });
  assert.equal(blocked, null);
  for (const storage of [full, blocked]) {
    const { peer, done } = await startShop(t);
    const page = await openPage(peer, storage);
    const placed = page.shop.placeOrder(lamp);
    assert.equal(page.kept.isMissingAny(), true);
    assert.equal(await placed, true);
    assert.equal(page.kept.isMissingAny(), false);
    assert.equal(done().length, 1);
  }
});

test('what cannot be read is left alone', () => {
  const storage = new TestStorage();
  for (const text of ['', '{', 'null', '{"topic":"toString","user":1,"at":0,"values":"{}"}', '{"topic":"order","user":"1","at":0,"values":"{}"}',
    '{"topic":"topUp","user":1,"at":0,"values":"{\\"amount\\":1e5}"}']) storage.setItem(`gozon.intent.${storage.length}`, text);
  storage.setItem('gozon.user', '1');
  assert.deepEqual(createKept(storage).all(), {});
  assert.equal(storage.length, 7);
});
