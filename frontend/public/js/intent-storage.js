// Saves intents in the browser until their outcome is known, so that a reload, a closed tab or a crash does
// not lose a request that may have been processed. Each intent has its own item: tabs never overwrite each other.
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

// An intent that the shop certainly did not carry out is not saved. The next request for the same is a new intent.
const needsSaving = (intent) => Boolean(intent) && (intent.busy || intent.unknown);

/** Returns the browser's local storage, or null if it is blocked. */
export function browserStorage(window) {
  try {
    return window.localStorage;
  } catch {
    return null;
  }
}

/** @param {Storage | null} storage shared by all tabs of the shop */
export function createIntentStorage(storage) {
  const unsaved = new Set(); // keys of intents that could not be written

  function write(key, intent) {
    unsaved.delete(key);
    if (!needsSaving(intent)) {
      storage?.removeItem(PREFIX + key);
      return;
    }
    try {
      storage.setItem(PREFIX + key, encode(intent));
    } catch {
      unsaved.add(key); // storage is blocked or full
    }
  }

  return {
    /** Returns the intents of all tabs whose outcome is unknown, by key. Items that cannot be read are skipped. */
    all() {
      const intents = {};
      for (let i = 0; i < (storage?.length ?? 0); i += 1) {
        const name = storage.key(i);
        if (!name?.startsWith(PREFIX)) continue;
        const key = name.slice(PREFIX.length);
        try {
          intents[key] = decode(key, storage.getItem(name));
        } catch {
          // Written by another version of the page, or by something else on this origin.
        }
      }
      return intents;
    },

    /** Writes the intents that differ from the previous ones. */
    update(intents, previous) {
      for (const key of new Set([...Object.keys(intents), ...Object.keys(previous)])) {
        if (intents[key] !== previous[key]) write(key, intents[key]);
      }
    },

    /** Reports whether leaving the page now would lose an intent whose outcome is unknown. */
    hasUnsaved: () => unsaved.size > 0,

    /** Returns the key of the intent that another tab removed, given the storage event; null for any other event. */
    removedKey: ({ key, newValue }) => (newValue === null && key?.startsWith(PREFIX) ? key.slice(PREFIX.length) : null),
  };
}
