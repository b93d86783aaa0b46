import assert from 'node:assert/strict';
import { test } from 'node:test';
import { inTurn, notice, openShop, placed, status, tea } from './writes.js';

test('too many requests: it waits as long as the shop asks, then retries with the same key', async (t) => {
  let refused = 0;
  const limited = (request, response) => {
    refused = performance.now();
    response.setHeader('Retry-After', '1');
    return status(429, { type: '/problems/too-many-requests' })(request, response);
  };
  const { shop, posts } = await openShop(t, inTurn(limited, placed), { retryDelays: [1, 1] });
  assert.equal(await shop.placeOrder(tea), true);
  assert.ok(performance.now() - refused > 990, 'it must not retry earlier than the shop asks');
  assert.deepEqual(posts()[1], posts()[0]);
});

test('too many requests for long: it says that nothing was done, and the typed values are kept', async (t) => {
  const limited = (request, response) => {
    response.setHeader('Retry-After', '60');
    return status(429, { type: '/problems/too-many-requests' })(request, response);
  };
  const { shop, store, posts } = await openShop(t, inTurn(limited, placed), { retryDelays: [1, 1] });
  assert.equal(await shop.placeOrder(tea), false);
  assert.equal(posts().length, 1, 'it must not wait for longer than a visitor does');
  assert.equal(notice(store).text, 'You have sent too many requests in a short time. Your order for “Tea” was not placed. It is safe to try again.');
  assert.equal(store.state.order.done, null, 'the form must not be emptied');
  assert.equal(await shop.tryAgain(notice(store).id), true);
  assert.deepEqual(posts()[1], posts()[0]);
});
