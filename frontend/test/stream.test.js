import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createApi } from '../public/js/api.js';
import { MAX } from '../public/js/money.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { createStream } from '../public/js/stream.js';
import { TestEventSource } from './eventsource.js';
import { order, startServer, until } from './server.js';

const event = (name, id, data) => `event: ${name}\nid: ${id}\ndata: ${typeof data === 'string' ? data : JSON.stringify(data)}\n\n`;
const snapshot = (orders, id = 1, more = {}) => event('snapshot', id, { orders, ...more });

// Opens a shop for user 1. serve(response, nth, request) answers the nth stream request, and read(request) the other requests for orders.
async function follow(t, serve, read = () => ({ orders: [] })) {
  const streams = [];
  const server = await startServer(t, (request, response) => {
    if (!request.url.startsWith('/orders/events')) return request.url.startsWith('/orders/') ? read(request) : { user_id: 1, balance: 5 };
    streams.push(request);
    return serve({
      start: (...events) => void response.writeHead(200, { 'Content-Type': 'text/event-stream' }).write(`retry: 1\n\n${events.join('')}`),
      send: (text) => response.write(text),
      end: () => response.end(),
      refuse: (status) => response.writeHead(status).end('{}'),
    }, streams.length, request);
  });
  const api = createApi({ base: server.base });
  const store = createStore(reduce, initialState);
  const shop = createShop(api, store);
  const page = Object.assign(new EventTarget(), { hidden: false });
  const connect = t.mock.fn((user) => new TestEventSource(api.eventsUrl(user)));
  const stream = createStream({
    connect, page, onEvent: shop.handleEvent, onLive: shop.setLive, minDelay: 2, maxDelay: 4,
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
  return { store, streams, connects: () => connect.mock.callCount(), choose, show, requests: server.requests };
}

const statuses = ({ orders }) => orders.items.map(({ id, status }) => id + status).join();

test('a snapshot sets the front of the list, and an order event updates its row', async (t) => {
  let out;
  const orders = [order('b'), order('a', { status: 'PAID', version: 2 })];
  const { store, streams } = await follow(t, (response) => {
    out = response;
    response.start(snapshot(orders));
  }, () => ({ orders }));
  await until(store, (state) => state.live && statuses(state) === 'bNEW,aPAID');
  assert.equal(streams[0].url, '/orders/events?user_id=1&limit=20');
  const paid = event('order', 2, order('b', { status: 'PAID', version: 2 }));
  out.send(paid);
  await until(store, (state) => statuses(state) === 'bPAID,aPAID');
  assert.equal(store.state.settled, 1);
  // A duplicate and an older version change nothing. The new order after them shows that they were processed.
  out.send(paid + event('order', 3, order('b')) + event('order', 4, order('c')));
  await until(store, (state) => statuses(state) === 'cNEW,bPAID,aPAID');
  assert.equal(store.state.settled, 1);
});

test('amounts from the stream are exact', async (t) => {
  const { store } = await follow(t, (response) => response.start(snapshot([order('a')]), event('order', 2, JSON.stringify(order('b')).replace('1000', '9999999999999.99'))));
  await until(store, ({ orders }) => orders.items.length === 2);
  assert.equal(store.state.orders.items[0].price, MAX);
});

test('a reconnected stream is live even if it missed nothing', async (t) => {
  let first;
  const { store, streams } = await follow(t, (response, nth) => {
    first ??= response;
    response.start(nth === 1 ? snapshot([order('a')], 7) : ': nothing new\n\n');
  });
  await until(store, (state) => state.live && statuses(state) === 'aNEW');
  first.end();
  await until(store, (state) => !state.live);
  await until(store, (state) => state.live);
  assert.equal(streams[1].headers['last-event-id'], '7');
  assert.equal(statuses(store.state), 'aNEW');
});

test('a refused stream is opened again until it succeeds', async (t) => {
  const { store, streams } = await follow(t, (response, nth) => {
    if (nth < 4) response.refuse(503);
    else response.start(snapshot([order('a')]));
  });
  await until(store, (state) => state.live);
  assert.equal(streams.length, 4);
  assert.equal(streams[3].headers['last-event-id'], undefined);
});

test('an unreadable event makes it open a new stream with a snapshot', async (t) => {
  const { store, streams } = await follow(t, (response, nth) => {
    if (nth === 1) response.start(snapshot([order('a')]), event('order', 2, '{"id": "a"'));
    else response.start(snapshot([order('a', { status: 'PAID', version: 2 })]));
  });
  await until(store, (state) => statuses(state) === 'aPAID');
  assert.equal(streams.length, 2);
});

test('a hidden page closes its stream and opens a new one when it is visible again', async (t) => {
  let closed;
  const gone = new Promise((resolve) => { closed = resolve; });
  const { store, connects, show, choose } = await follow(t, (response, nth, request) => {
    if (nth === 1) request.socket.on('close', closed);
    response.start(snapshot([order('a', nth === 1 ? {} : { status: 'PAID', version: 2 })]));
  });
  await until(store, (state) => state.live);
  show(false);
  await gone;
  assert.equal(store.state.live, false);
  await choose(1);
  assert.equal(connects(), 1, 'the stream of another user must wait as well');
  show(true);
  await until(store, (state) => statuses(state) === 'aPAID');
});

test('another user gets a new stream, and events of the old one are ignored', async (t) => {
  const outs = [];
  const { store, streams, choose } = await follow(t, (response, nth) => {
    outs.push(response);
    response.start(snapshot([order(nth === 1 ? 'a' : 'b')]));
  });
  await until(store, (state) => statuses(state) === 'aNEW');
  await choose(2);
  outs[0].send(event('order', 9, order('x')));
  await until(store, (state) => statuses(state) === 'bNEW');
  assert.match(streams[1].url, /user_id=2/);
  outs[1].send(event('order', 2, order('c')));
  await until(store, (state) => statuses(state) === 'cNEW,bNEW');
});

test('open orders beyond the snapshot are read one by one', async (t) => {
  const read = ({ url }) => {
    if (url === '/orders/a') return order('a', { status: 'PAID', version: 2 });
    return { orders: [order('b'), order('a')] };
  };
  const { store, requests } = await follow(t, (response) => response.start(snapshot([order('b')], 1, { next_cursor: 'b' })), read);
  await until(store, (state) => statuses(state) === 'bNEW,aPAID');
  assert.equal(requests.filter(({ url }) => url === '/orders/a').length, 1);
});
