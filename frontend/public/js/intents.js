// An intent is one thing that the visitor wants done exactly once. It is created at the first click and kept, with
// its idempotency key and its exact request, until the shop gives a definite answer. The shop processes each key once.
import { stringify } from './json.js';

// The shop keeps a key for 24 hours. The page stops an hour earlier, to allow for clock skew and slow networks.
const SAFE_FOR = 23 * 60 * 60 * 1000;

/** Returns a new unique key. Browsers offer randomUUID to secure pages only, random bytes to all. */
export function newKey(crypto = globalThis.crypto) {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {'order' | 'topUp' | 'cancel'} topic
 * @param {object} values the content of the request; together with the user it determines the exact request
 */
export const newIntent = (topic, user, values, now) => ({
  key: newKey(), topic, user, values, at: now, unknown: false, busy: false,
});

/** Reports whether the shop still keeps the intent's key, so that a retry has no second effect. */
export const isSafe = (intent, now) => Math.abs(now - intent.at) < SAFE_FOR; // the age is negative if the clock was set back

/** Returns the intent for the same request that is still safe to retry, if there is one. */
export function findSame(intents, topic, user, values, now) {
  const wanted = stringify(values);
  return Object.values(intents).find((known) => known.topic === topic && known.user === user && isSafe(known, now)
    && stringify(known.values) === wanted);
}

/** Reports whether the current user has a request of that topic in flight. With an id, only requests for that order count. */
export function isBusy({ intents, user }, topic, id) {
  return Object.values(intents).some((intent) => intent.busy && intent.topic === topic && intent.user === user
    && (id === undefined || intent.values.id === id));
}
