import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { followOrders } from '../public/js/follow.js';

// The page is an EventTarget with `hidden`. Time is mocked.
function setUp(t) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const page = Object.assign(new EventTarget(), { hidden: false });
  const refresh = mock.fn(async () => {});
  const following = followOrders(refresh, page);
  const pass = async (milliseconds) => {
    t.mock.timers.tick(milliseconds);
    await Promise.resolve().then(() => {}).then(() => {});
  };
  const show = (visible) => {
    page.hidden = !visible;
    page.dispatchEvent(new Event('visibilitychange'));
  };
  return { following, pass, show, refreshes: () => refresh.mock.callCount() };
}

test('nothing is polled while no order is open', async (t) => {
  const { following, pass, refreshes } = setUp(t);
  following.update([], false);
  await pass(60_000);
  assert.equal(refreshes(), 0);
});

test('without a stream it polls with growing delays, and stops when all orders are settled', async (t) => {
  const { following, pass, refreshes } = setUp(t);
  following.update(['a'], false);
  await pass(999);
  assert.equal(refreshes(), 0);
  await pass(1);
  assert.equal(refreshes(), 1);
  await pass(1_599);
  assert.equal(refreshes(), 1);
  await pass(1);
  assert.equal(refreshes(), 2);
  for (let i = 0; i < 10; i += 1) await pass(10_000);
  assert.equal(refreshes(), 12, 'the delay must not exceed 10 seconds');
  await pass(9_999);
  assert.equal(refreshes(), 12, 'the delay must stay at 10 seconds');
  following.update([], false);
  await pass(60_000);
  assert.equal(refreshes(), 12);
});

test('with a stream it polls every 30 seconds, only while an order is open', async (t) => {
  const { following, pass, refreshes } = setUp(t);
  following.update(['a'], true);
  await pass(29_999);
  assert.equal(refreshes(), 0);
  await pass(1);
  assert.equal(refreshes(), 1);
  following.update([], true);
  await pass(60_000);
  assert.equal(refreshes(), 1);
});

test('a lost stream resets the delay', async (t) => {
  const { following, pass, refreshes } = setUp(t);
  following.update(['a'], true);
  following.update(['a'], false);
  await pass(1_000);
  assert.equal(refreshes(), 1);
});

test('a new open order resets the delay, an unchanged list does not', async (t) => {
  const { following, pass, refreshes } = setUp(t);
  following.update(['a'], false);
  for (let i = 0; i < 10; i += 1) await pass(10_000);
  const before = refreshes();
  following.update(['a'], false);
  await pass(1_000);
  assert.equal(refreshes(), before);
  following.update(['b', 'a'], false);
  await pass(1_000);
  assert.equal(refreshes(), before + 1);
});

test('a hidden page pauses polling, and polls soon when it is visible again', async (t) => {
  const { following, pass, show, refreshes } = setUp(t);
  following.update(['a'], false);
  show(false);
  await pass(60_000);
  assert.equal(refreshes(), 0);
  show(true);
  await pass(1_000);
  assert.equal(refreshes(), 1);
});
