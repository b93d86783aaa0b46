// What the visitor wants done, each thing once. An intent is made at the first click and kept, with
// its key and its exact request, until the shop gave a definite answer: the shop does one key once.
import { stringify } from './json.js';

// The shop keeps a key for 24 hours. The hour between is for clocks and slow networks.
const SAFE_FOR = 23 * 60 * 60 * 1000;

/** A key that nobody else makes. Browsers offer randomUUID to secure pages only, random bytes to all. */
export function newKey(crypto = globalThis.crypto) {
  if (crypto.randomUUID) return crypto.randomUUID();
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, '0')).join('');
}

/**
 * @param {'order' | 'topUp' | 'cancel'} topic
 * @param {object} values what is asked for; with the user it makes the exact request
 */
export const newIntent = (topic, user, values, now) => ({
  key: newKey(), topic, user, values, at: now, unknown: false, busy: false,
});

/** Whether the shop still knows the intent's key, so that sending it again does nothing twice. */
export const isSafe = (intent, now) => Math.abs(now - intent.at) < SAFE_FOR; // a clock that was set back makes an age negative

/** The intent that already stands for this request and may be sent again, if there is one. */
export function findSame(intents, topic, user, values, now) {
  const wanted = stringify(values);
  return Object.values(intents).find((known) => known.topic === topic && known.user === user && isSafe(known, now)
    && stringify(known.values) === wanted);
}

/** Whether the shown user has something of that topic under way; of one order, when its id is given. */
export function isBusy({ intents, user }, topic, id) {
  return Object.values(intents).some((intent) => intent.busy && intent.topic === topic && intent.user === user
    && (id === undefined || intent.values.id === id));
}
