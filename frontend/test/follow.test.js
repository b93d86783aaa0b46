import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { followOrders } from '../public/js/follow.js';

// The page is an EventTarget with `hidden`; time is the test's own.
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
  return { following, pass, show, asked: () => refresh.mock.callCount() };
}

test('nothing is asked while no order is open', async (t) => {
  const { following, pass, asked } = setUp(t);
  following.update([], false);
  await pass(60_000);
  assert.equal(asked(), 0);
});

test('without a stream it asks soon, then more seldom, and stops when all are settled', async (t) => {
  const { following, pass, asked } = setUp(t);
  following.update(['a'], false);
  await pass(999);
  assert.equal(asked(), 0);
  await pass(1);
  assert.equal(asked(), 1);
  await pass(1_599);
  assert.equal(asked(), 1);
  await pass(1);
  assert.equal(asked(), 2);
  for (let i = 0; i < 10; i += 1) await pass(10_000);
  assert.equal(asked(), 12, 'never more seldom than every 10 seconds');
  await pass(9_999);
  assert.equal(asked(), 12, 'nor more often, by then');
  following.update([], false);
  await pass(60_000);
  assert.equal(asked(), 12);
});

test('with a stream it asks seldom, only for what stays open', async (t) => {
  const { following, pass, asked } = setUp(t);
  following.update(['a'], true);
  await pass(29_999);
  assert.equal(asked(), 0);
  await pass(1);
  assert.equal(asked(), 1);
  following.update([], true);
  await pass(60_000);
  assert.equal(asked(), 1);
});

test('a stream that is lost makes it ask soon', async (t) => {
  const { following, pass, asked } = setUp(t);
  following.update(['a'], true);
  following.update(['a'], false);
  await pass(1_000);
  assert.equal(asked(), 1);
});

test('a new order is asked for soon, the same ones change nothing', async (t) => {
  const { following, pass, asked } = setUp(t);
  following.update(['a'], false);
  for (let i = 0; i < 10; i += 1) await pass(10_000);
  const before = asked();
  following.update(['a'], false);
  await pass(1_000);
  assert.equal(asked(), before);
  following.update(['b', 'a'], false);
  await pass(1_000);
  assert.equal(asked(), before + 1);
});

test('a hidden page asks nothing, and soon when it is seen again', async (t) => {
  const { following, pass, show, asked } = setUp(t);
  following.update(['a'], false);
  show(false);
  await pass(60_000);
  assert.equal(asked(), 0);
  show(true);
  await pass(1_000);
  assert.equal(asked(), 1);
});
