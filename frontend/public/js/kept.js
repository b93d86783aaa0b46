// Keeps intents in the browser until their outcome is known, so that a reload, a closed tab or a crash
// does not forget what may have been done. Each has an item of its own: tabs never overwrite each other's.
import { parse, stringify } from './json.js';
import { fromLiteral } from './money.js';

const PREFIX = 'gozon.intent.';

const VALUES = {
  order: ({ item, price }) => ({ item: String(item), price: fromLiteral(price) }),
  topUp: ({ amount }) => ({ amount: fromLiteral(amount) }),
  cancel: ({ id, item }) => ({ id: String(id), item: String(item) }),
};

const encode = ({ topic, user, at, values }) => JSON.stringify({ topic, user, at, values: stringify(values) });

function decode(key, text) {
  const { topic, user, at, values } = JSON.parse(text);
  if (!Object.hasOwn(VALUES, topic) || !Number.isSafeInteger(user) || !Number.isFinite(at)) throw new TypeError('not an intent');
  return { key, topic, user, at, values: VALUES[topic](parse(values)), unknown: true, busy: false, typed: null };
}

// What the shop surely did not do needs no memory: asking for it again is a new intent.
const isKept = (intent) => Boolean(intent) && (intent.busy || intent.unknown);

/** The browser's storage, or null where it is blocked. */
export function storageOf(window) {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/** @param {Storage | null} storage shared by the tabs of the shop */
export function createKept(storage) {
  const missing = new Set(); // keys that the storage did not take

  function write(key, intent) {
    missing.delete(key);
    if (!isKept(intent)) {
      storage?.removeItem(PREFIX + key);
      return;
    }
    try {
      storage.setItem(PREFIX + key, encode(intent));
    } catch {
      missing.add(key); // blocked or full
    }
  }

  return {
    /** Every tab's intents of unknown outcome, by key. What cannot be read is left out. */
    all() {
      const intents = {};
      for (let i = 0; i < (storage?.length ?? 0); i += 1) {
        const name = storage.key(i);
        if (!name?.startsWith(PREFIX)) continue;
        const key = name.slice(PREFIX.length);
        try {
          intents[key] = decode(key, storage.getItem(name));
        } catch {
          // Another version of the page wrote it, or somebody else.
        }
      }
      return intents;
    },

    /** Writes what differs between the intents and those of before. */
    update(intents, before) {
      for (const key of new Set([...Object.keys(intents), ...Object.keys(before)])) {
        if (intents[key] !== before[key]) write(key, intents[key]);
      }
    },

    /** Whether leaving the page now would forget an intent of unknown outcome. */
    isMissingAny: () => missing.size > 0,

    /** The key of the intent that another tab has just removed, by its storage event; otherwise null. */
    removedBy: ({ key, newValue }) => (newValue === null && key?.startsWith(PREFIX) ? key.slice(PREFIX.length) : null),
  };
}
