import assert from 'node:assert/strict';
import { test } from 'node:test';
import { elapsed } from '../public/js/elapsed.js';
import { orderWords, reasonWords, statusWords, stepWords } from '../public/js/words.js';

const timeline = (...steps) => steps.map((step) => ({ step, at: '2026-01-01T00:00:00Z' }));

test('every step has a label, and an unknown step is shown unchanged', () => {
  for (const step of ['placed', 'published', 'charged', 'refused', 'confirmed', 'cancel_requested', 'refunded', 'cancelled']) {
    assert.match(stepWords(step), /^[A-Z][a-z ]+$/, step);
  }
  assert.equal(stepWords('packed_by_robot'), 'packed_by_robot');
  assert.equal(stepWords('constructor'), 'constructor');
});

test('elapsed times are short', () => {
  const cases = [
    ['00:00:00.000Z', '+0 ms'], ['00:00:00.012Z', '+12 ms'], ['00:00:00.012999Z', '+12 ms'], ['00:00:00.999Z', '+999 ms'], ['00:00:01.250Z', '+1.2 s'],
    ['00:00:09.999Z', '+9.9 s'], ['00:00:42.9Z', '+42 s'], ['00:01:00Z', '+1 min'], ['00:02:05Z', '+2 min 5 s'], ['03:10:59Z', '+3 h 10 min'], ['03:00:59Z', '+3 h'],
  ];
  for (const [time, text] of cases) assert.equal(elapsed('2026-01-01T00:00:00Z', `2026-01-01T${time}`).replaceAll('\u00a0', ' '), text);
  assert.equal(elapsed('2026-01-01T00:00:00Z', '2026-01-03T05:00:00Z').replaceAll('\u00a0', ' '), '+2 d 5 h');
  assert.equal(elapsed('2026-01-01T00:00:01Z', '2026-01-01T00:00:00Z'), '+0\u00a0ms', 'clock skew must not give a negative time');
  assert.equal(elapsed('2026-01-01T00:00:00Z', 'soon'), null);
});

test('a cancellation reason includes what happened to the money', () => {
  const reason = 'cancelled_by_user';
  assert.equal(reasonWords({ reason, timeline: timeline('placed', 'charged', 'cancel_requested', 'refunded', 'cancelled') }), 'You cancelled this order. Your money was refunded.');
  assert.equal(reasonWords({ reason, timeline: timeline('placed', 'cancel_requested', 'cancelled') }), 'You cancelled this order. You were not charged.');
  assert.equal(reasonWords({ reason: 'insufficient_funds' }), 'There was not enough money in your account.');
  assert.equal(reasonWords({ reason: 'cosmic_rays' }), 'cosmic_rays');
  assert.equal(reasonWords({ reason: '' }), '');
});

test('an order that is being cancelled has its own status text', () => {
  assert.equal(statusWords('CANCELLING'), 'Cancelling…');
  assert.equal(orderWords({ item: 'Tea', status: 'CANCELLING', reason: '' }), 'Order “Tea”: cancelling…');
});
