import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { MAX } from '../public/js/money.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { createStream } from '../public/js/stream.js';
import { TestEventSource } from './eventsource.js';
import { order, startPeer, until } from './peer.js';

const event = (name, id, data) => `event: ${name}\nid: ${id}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const snapshot = (orders, id = 1, more = {}) => event('snapshot', id, { orders, ...more });

// User 1 looks at a shop whose streams are answered one by one by serve(response, nth, request); its lists are empty.
async function follow(t, serve, read = () => ({ orders: [] })) {
  const streams = [];
  const peer = await startPeer(t, (request, response) => {
    if (!request.url.startsWith('/orders/events')) return request.url.startsWith('/orders/') ? read(request) : { user_id: 1, balance: 5 };
    streams.push(request);
    return serve({
      begin: (...events) => void response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(`retry: 1\n\n${events.join('')}`),
      tell: (text) => response.write(text),
      end: () => response.end(),
      refuse: (status) => response.writeHead(status).end('{}'),
    }, streams.length, request);
  });
  const api = createApi({ base: peer.base });
  const store = createStore(reduce, initialState);
  const shop = createShop(api, store);
  const page = Object.assign(new EventTarget(), { hidden: false });
  const connect = t.mock.fn((user) => new TestEventSource(api.eventsAddress(user)));
  const stream = createStream({
    connect, page, onEvent: shop.hear, onLive: shop.live, first: 2, last: 4,
  });
  t.after(() => stream.follow(null));
  const choose = (user) => {
    const read = shop.chooseUser(user);
    stream.follow(user);
    return read;
  };
  const show = (visible) => {
    page.hidden = !visible;
    page.dispatchEvent(new Event('visibilitychange'));
  };
  await choose(1);
  return { store, streams, connects: () => connect.mock.callCount(), choose, show, requests: peer.requests };
}

const statuses = ({ orders }) => orders.items.map(({ id, status }) => id + status).join();

test('a snapshot is the list’s front, and each order changes its row', async (t) => {
  let out;
  const orders = [order('b'), order('a', { status: 'PAID', version: 2 })];
  const { store, streams } = await follow(t, (response) => {
    out = response;
    response.begin(snapshot(orders));
  }, () => ({ orders }));
  await until(store, (state) => state.live && statuses(state) === 'bNEW,aPAID');
  assert.equal(streams[0].url, '/orders/events?user_id=1&limit=20');
  const paid = event('order', 2, order('b', { status: 'PAID', version: 2 }));
  out.tell(paid);
  await until(store, (state) => statuses(state) === 'bPAID,aPAID');
  assert.equal(store.state.settled, 1);
  // Told twice, and then an older version: nothing changes. The new one after them shows that they were read.
  out.tell(paid + event('order', 3, order('b')) + event('order', 4, order('c')));
  await until(store, (state) => statuses(state) === 'cNEW,bPAID,aPAID');
  assert.equal(store.state.settled, 1);
});

test('an amount comes through the stream exactly', async (t) => {
  const { store } = await follow(t, (response) => response.begin(snapshot([order('a')]), event('order', 2, JSON.stringify(order('b')).replace('1000', '9999999999999.99'))));
  await until(store, ({ orders }) => orders.items.length === 2);
  assert.equal(store.state.orders.items[0].price, MAX);
});

test('after a stream’s end it gets what it missed, and is live even when that is nothing', async (t) => {
  let first;
  const { store, streams } = await follow(t, (response, nth) => {
    first ??= response;
    response.begin(nth === 1 ? snapshot([order('a')], 7) : ': nothing new\n\n');
  });
  await until(store, (state) => state.live && statuses(state) === 'aNEW');
  first.end();
  await until(store, (state) => !state.live);
  await until(store, (state) => state.live);
  assert.equal(streams[1].headers['last-event-id'], '7');
  assert.equal(statuses(store.state), 'aNEW');
});

test('refused a stream, it asks for a new one until it gets it', async (t) => {
  const { store, streams } = await follow(t, (response, nth) => {
    if (nth < 4) response.refuse(503);
    else response.begin(snapshot([order('a')]));
  });
  await until(store, (state) => state.live);
  assert.equal(streams.length, 4);
  assert.equal(streams[3].headers['last-event-id'], undefined);
});

test('what cannot be read makes it begin anew, with a snapshot', async (t) => {
  const { store, streams } = await follow(t, (response, nth) => {
    if (nth === 1) response.begin(snapshot([order('a')]), event('order', 2, '{"id": "a"'));
    else response.begin(snapshot([order('a', { status: 'PAID', version: 2 })]));
  });
  await until(store, (state) => statuses(state) === 'aPAID');
  assert.equal(streams.length, 2);
});

test('a hidden page gives its stream back, and begins anew when it is seen again', async (t) => {
  let closed;
  const gone = new Promise((resolve) => { closed = resolve; });
  const { store, connects, show, choose } = await follow(t, (response, nth, request) => {
    if (nth === 1) request.socket.on('close', closed);
    response.begin(snapshot([order('a', nth === 1 ? {} : { status: 'PAID', version: 2 })]));
  });
  await until(store, (state) => state.live);
  show(false);
  await gone;
  assert.equal(store.state.live, false);
  await choose(1);
  assert.equal(connects(), 1, 'another user’s stream waits too');
  show(true);
  await until(store, (state) => statuses(state) === 'aPAID');
});

test('another user’s orders come over a stream of their own, and nothing of the old one', async (t) => {
  const outs = [];
  const { store, streams, choose } = await follow(t, (response, nth) => {
    outs.push(response);
    response.begin(snapshot([order(nth === 1 ? 'a' : 'b')]));
  });
  await until(store, (state) => statuses(state) === 'aNEW');
  await choose(2);
  outs[0].tell(event('order', 9, order('x')));
  await until(store, (state) => statuses(state) === 'bNEW');
  assert.match(streams[1].url, /user_id=2/);
  outs[1].tell(event('order', 2, order('c')));
  await until(store, (state) => statuses(state) === 'cNEW,bNEW');
});

test('open orders beyond the snapshot are read one by one', async (t) => {
  const read = ({ url }) => {
    if (url === '/orders/a') return order('a', { status: 'PAID', version: 2 });
    return { orders: [order('b'), order('a')] };
  };
  const { store, requests } = await follow(t, (response) => response.begin(snapshot([order('b')], 1, { next_cursor: 'b' })), read);
  await until(store, (state) => statuses(state) === 'bNEW,aPAID');
  assert.equal(requests.filter(({ url }) => url === '/orders/a').length, 1);
});
