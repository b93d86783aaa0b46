import assert from 'node:assert/strict';
import { mock, test } from 'node:test';
import { poll } from '../public/js/poll.js';

// The page and the window are EventTargets; the page also has `hidden`. Time is mocked.
function setUp(t, answer = async () => true) {
  t.mock.timers.enable({ apis: ['setTimeout'] });
  const page = Object.assign(new EventTarget(), { hidden: false });
  const window = new EventTarget();
  const read = mock.fn(answer);
  poll(read, page, window);
  const settle = () => new Promise(setImmediate);
  const pass = async (milliseconds) => {
    t.mock.timers.tick(milliseconds);
    await settle();
  };
  const show = async (visible) => {
    page.hidden = !visible;
    page.dispatchEvent(new Event('visibilitychange'));
    await settle();
  };
  return { pass, show, settle, window, reads: () => read.mock.callCount() };
}

test('it reads every three seconds', async (t) => {
  const { pass, reads } = setUp(t);
  for (let i = 1; i <= 3; i += 1) {
    await pass(2_999);
    assert.equal(reads(), i - 1);
    await pass(1);
    assert.equal(reads(), i);
  }
});

test('a hidden page pauses reading, and reads at once when it is visible again', async (t) => {
  const { pass, show, reads } = setUp(t);
  await show(false);
  await pass(60_000);
  assert.equal(reads(), 0);
  await show(true);
  assert.equal(reads(), 1);
  await pass(3_000);
  assert.equal(reads(), 2);
});

test('focus and pageshow trigger an immediate read', async (t) => {
  const { pass, settle, window, reads } = setUp(t);
  for (const [i, name] of ['focus', 'pageshow'].entries()) {
    window.dispatchEvent(new Event(name));
    await settle();
    assert.equal(reads(), i + 1);
  }
  await pass(3_000);
  assert.equal(reads(), 3, 'there must be only one timer');
});

test('reads never overlap', async (t) => {
  let release;
  const { pass, window, reads } = setUp(t, () => new Promise((resolve) => { release = resolve; }));
  await pass(3_000);
  window.dispatchEvent(new Event('focus'));
  await pass(60_000);
  assert.equal(reads(), 1);
  release(true);
  await pass(0);
  await pass(3_000);
  assert.equal(reads(), 2);
});

test('failures lengthen the interval, and a success resets it', async (t) => {
  let works = false;
  const { pass, reads } = setUp(t, async () => works);
  await pass(3_000);
  await pass(5_999);
  assert.equal(reads(), 1);
  await pass(1);
  assert.equal(reads(), 2);
  for (let i = 0; i < 5; i += 1) await pass(30_000);
  const before = reads();
  await pass(29_999);
  assert.equal(reads(), before, 'the interval must not exceed 30 seconds');
  works = true;
  await pass(1);
  await pass(3_000);
  assert.equal(reads(), before + 2);
});
