import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ApiError, createApi } from '../public/js/api.js';
import { MAX } from '../public/js/money.js';
import { order, startServer } from './server.js';

async function failure(t, status, body, headers = {}) {
  const { base } = await startServer(t, (request, response) => {
    response.statusCode = status;
    if (headers['Content-Type']) {
      response.writeHead(status, headers).end(body);
      return undefined;
    }
    for (const [name, value] of Object.entries(headers)) response.setHeader(name, value);
    return body;
  });
  return createApi({ base }).placeOrder(1, { item: 'Laptop', price: 100n }, 'k').then(
    () => assert.fail('the call must fail'),
    (error) => {
      assert.ok(error instanceof ApiError, error);
      return error;
    },
  );
}

test('an order is sent and received with exact amounts', async (t) => {
  const { base, requests } = await startServer(t, () => JSON.stringify(order('a')).replace('1000', '9999999999999.99'));
  const placed = await createApi({ base }).placeOrder(2 ** 53 - 1, { item: '"7" 1.5', price: MAX }, 'k');
  assert.equal(requests[0].method, 'POST');
  assert.equal(requests[0].url, '/orders/');
  assert.equal(requests[0].headers['content-type'], 'application/json');
  assert.equal(requests[0].body, '{"user_id":9007199254740991,"item":"\\"7\\" 1.5","price":9999999999999.99}');
  assert.equal(requests[0].headers['idempotency-key'], '"k"');
  assert.deepEqual(placed, {
    id: 'a', item: 'Laptop', price: MAX, status: 'NEW', reason: '', version: 1, createdAt: '2026-01-01T00:00:00Z',
    timeline: [{ step: 'placed', at: '2026-01-01T00:00:00Z' }],
  });
});

test('a cancellation request has a key and no body', async (t) => {
  const { base, requests } = await startServer(t, (request, response) => ((response.statusCode = 202), order('a/b', { status: 'CANCELLING' })));
  const cancelled = await createApi({ base }).cancelOrder('a/b', 'k');
  const [{ method, url, body, headers }] = requests;
  assert.deepEqual([method, url, body, headers['idempotency-key'], headers['content-type']], ['POST', '/orders/a%2Fb/cancel', '', '"k"', undefined]);
  assert.equal(cancelled.status, 'CANCELLING');
});

test('a missing timeline is decoded as empty', async (t) => {
  const { base } = await startServer(t, () => order('a', { timeline: undefined }));
  assert.deepEqual((await createApi({ base }).order('a')).timeline, []);
});

test('request-in-flight has an unknown outcome and is transient', async (t) => {
  const error = await failure(t, 409, { type: '/problems/request-in-flight', detail: 'the first request is in flight' });
  assert.deepEqual([error.kind, error.done, error.transient], ['request-in-flight', 'unknown', true]);
  const other = await failure(t, 409, { type: 'https://shop.example/problems/not-cancellable/' });
  assert.deepEqual([other.kind, other.done, other.transient], ['not-cancellable', 'no', false]);
});

test('errors of a problem are assigned to their fields', async (t) => {
  const error = await failure(t, 422, {
    title: 'Invalid request',
    detail: 'one or more fields are not acceptable',
    request_id: 'r-1',
    errors: [
      { pointer: '/item', detail: 'must not be empty' },
      { pointer: '/item', detail: 'must be a string' },
      { pointer: '/a~1b~0', detail: 'is odd' },
      { pointer: '/price/0', detail: 'must be a number' },
    ],
  });
  assert.deepEqual(error.fields, { item: 'must not be empty', 'a/b~': 'is odd', price: 'must be a number' });
  assert.equal(error.message, 'one or more fields are not acceptable');
  assert.equal(error.requestId, 'r-1');
  assert.deepEqual([error.status, error.done, error.transient], [422, 'no', false]);
});

test('errors without a field become the message', async (t) => {
  const error = await failure(t, 400, { detail: 'bad', errors: [{ parameter: 'cursor', detail: 'is damaged' }, { pointer: '', detail: 'must be an object' }] });
  assert.deepEqual(error.fields, {});
  assert.equal(error.message, 'cursor is damaged; must be an object');
});

test('the status determines whether a failed call may have been processed', async (t) => {
  const cases = [[400, 'no', false], [409, 'no', false], [413, 'no', false], [429, 'no', true], [503, 'no', true], [500, 'unknown', true], [502, 'unknown', true], [504, 'unknown', true]];
  for (const [status, done, transient] of cases) {
    const error = await failure(t, status, { detail: 'a detail' });
    assert.deepEqual([error.status, error.done, error.transient, error.message], [status, done, transient, 'a detail']);
  }
});

test('a response without a problem document is reported by its status', async (t) => {
  const html = await failure(t, 502, '<h1>Bad Gateway</h1>', { 'Content-Type': 'text/html', 'X-Request-Id': 'r-2' });
  assert.deepEqual([html.message, html.requestId, html.done], ['the shop returned error 502', 'r-2', 'unknown']);
  const cut = await failure(t, 500, '{"detail": "cu', { 'Content-Type': 'application/problem+json' });
  assert.equal(cut.message, 'the shop returned error 500');
  const odd = await failure(t, 422, { errors: { item: 'no list' } });
  assert.deepEqual([odd.message, odd.fields], ['the shop returned error 422', {}]);
});

test('without a usable response the outcome is unknown', async (t) => {
  const silent = await startServer(t, () => undefined);
  const broken = await startServer(t, (request) => void request.socket.destroy());
  const garbled = await startServer(t, () => '{"id": "a"');
  const redirecting = await startServer(t, (request, response) => void response.writeHead(307, { Location: '/elsewhere' }).end());
  const cases = [[silent, /in time/], [broken, /could not reach the shop/], [garbled, /could not read the response/], [redirecting, /could not reach the shop/]];
  for (const [{ base, requests }, message] of cases) {
    await assert.rejects(createApi({ base, timeout: 300 }).placeOrder(1, { item: 'Laptop', price: 1n }, 'k'), (error) => {
      assert.match(error.message, message);
      assert.deepEqual([error.status, error.done, error.transient], [0, 'unknown', true]);
      return true;
    });
    assert.equal(requests.length, 1, 'the API client must not retry a POST');
  }
});

test('a missing account is not a failure', async (t) => {
  const { base, requests } = await startServer(t, (request, response) => {
    response.statusCode = 404;
    return { detail: 'no such account' };
  });
  const api = createApi({ base });
  assert.equal(await api.account(7), null);
  assert.deepEqual(await api.entries(7), { items: [], nextCursor: '' });
  await assert.rejects(api.orders(7), { status: 404 });
  assert.deepEqual(requests.map(({ url }) => url), ['/accounts/7', '/accounts/7/entries?limit=20', '/orders/?user_id=7&limit=20']);
});

test('the cursor of a page is sent back unchanged', async (t) => {
  const { base, requests } = await startServer(t, () => ({
    entries: [{ seq: 2, kind: 'charge', amount: 0.5, balance_after: 19.99, order_id: 'a', created_at: 'then' }], next_cursor: 'a+b/c=',
  }));
  const api = createApi({ base });
  const page = await api.entries(1);
  assert.deepEqual(page, { items: [{ seq: 2, kind: 'charge', amount: 50n, balanceAfter: 1999n, orderId: 'a', createdAt: 'then' }], nextCursor: 'a+b/c=' });
  await api.entries(1, page.nextCursor);
  assert.equal(new URL(requests[1].url, base).searchParams.get('cursor'), 'a+b/c=');
});
