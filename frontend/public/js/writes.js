// The use cases that change something. All attempts for one intent carry the same key, so the shop processes it once.
import { ApiError } from './api.js';
import { checkOrder, checkTopUp } from './checks.js';
import { findSame, isBusy, isSafe, newIntent } from './intents.js';
import { cancelRefusal, interrupted, keyReused, tooLate, writeFailure } from './words.js';

const RETRY_DELAYS = [500, 2_000];
const MAX_DURATION = 10_000;
const KEY_REUSED = 'idempotency-key-reused'; // the shop processed another request with this key

/**
 * @param {{refresh: () => Promise, readMoney: () => Promise}} reads what to read again after a change
 * @param {{intentStorage?: {all: () => object}, retryDelays?: number[], now?: () => number}} options
 *   intentStorage: the intents of all tabs whose outcome is unknown; retryDelays: the delay before each retry, in milliseconds
 */
export function createWrites(api, store, reads, { intentStorage = { all: () => ({}) }, retryDelays = RETRY_DELAYS, now = Date.now } = {}) {
  const { dispatch } = store;

  const requests = {
    order: async ({ user, values, key, typed }) => ({ type: 'order/placed', order: await api.placeOrder(user, values, key), typed }),
    topUp: async ({ user, values, key, typed }) => {
      await api.topUp(user, values.amount, key);
      return { type: 'topUp/done', typed };
    },
    cancel: async ({ values, key }) => ({ type: 'cancel/accepted', order: await api.cancelOrder(values.id, key) }),
  };

  // Sends the same request until its outcome is known, the retries are used up or MAX_DURATION has passed. Returns {action} or {error, unknown}.
  // Once an attempt may have been processed, only a definite answer settles the outcome; a 503 or 429 to a retry does not.
  async function attempt(intent) {
    const started = now();
    let { unknown } = intent;
    for (let retries = 0; ; retries += 1) {
      try {
        return { action: await requests[intent.topic](intent) };
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        unknown = error.transient && (unknown || error.done === 'unknown');
        if (!error.transient || retries >= retryDelays.length) return { error, unknown };
        const delay = Math.max(retryDelays[retries], error.retryAfter);
        if (now() - started + delay > MAX_DURATION) return { error, unknown };
        await new Promise((resolve) => { setTimeout(resolve, delay); });
        if (now() - started > MAX_DURATION) return { error, unknown };
      }
    }
  }

  async function send(intent) {
    const { key, topic, user } = intent;
    dispatch({ type: 'intent/sent', intent });
    const { action, error, unknown } = await attempt(intent);
    if (action || !error.transient) {
      dispatch({ type: 'intent/settled', key });
      if (!action) handleRefusal(intent, error);
      else dispatch({ ...action, about: user });
      if (action && topic === 'topUp') reads.readMoney();
      return Boolean(action) && store.state.user === user;
    }
    dispatch({ type: 'intent/failed', key, unknown, notice: writeFailure(intent, error, unknown) });
    if (unknown) reads.refresh();
    return false;
  }

  function handleRefusal(intent, error) {
    const { key, topic, user, values } = intent;
    if (error.kind === KEY_REUSED) {
      dispatch({ type: 'notice/shown', id: key, notice: keyReused(intent) });
      reads.refresh();
      return;
    }
    if (topic === 'cancel') {
      dispatch({ type: 'notice/shown', id: key, notice: cancelRefusal(values, error) });
      reads.refresh();
      return;
    }
    const errors = Object.keys(error.fields).length > 0 ? error.fields : { form: error.message };
    dispatch({ type: `${topic}/refused`, errors, about: user });
  }

  // If the same request was made before, in any tab, and has no definite answer yet, its key is used again.
  async function request(topic, values, typed) {
    const { user, intents } = store.state;
    if (user === null || isBusy(store.state, topic, values.id)) return false;
    const same = findSame({ ...intentStorage.all(), ...intents }, topic, user, values, now());
    const intent = same ?? newIntent(topic, user, values, now());
    return send({ ...intent, typed });
  }

  async function submit(topic, { values, errors }, typed) {
    if (values) return request(topic, values, typed);
    if (store.state.user !== null && !isBusy(store.state, topic)) dispatch({ type: `${topic}/refused`, errors });
    return false;
  }

  return {
    /** Opens the account with the typed amount, or tops it up. Resolves to true on success. */
    topUp: (text) => submit('topUp', checkTopUp(text, store.state.account.status === 'none'), text),

    /** Places an order from the typed values. Resolves to true if the shop accepted it. */
    placeOrder: (typed) => submit('order', checkOrder(typed), typed),

    /** Requests cancellation of an order. Resolves to true if the shop accepted the request. */
    cancelOrder: ({ id, item }) => request('cancel', { id, item }),

    /** Sends the exact request with that key again, for its own user, regardless of the current user. */
    async tryAgain(key) {
      const intent = store.state.intents[key];
      if (!intent || intent.busy) return false;
      if (isSafe(intent, now())) return send(intent);
      dispatch({ type: 'intent/failed', key, unknown: true, notice: tooLate(intent) });
      return false;
    },

    /**
     * Restores the intents that were in flight when their page was left. It sends nothing, because only
     * the visitor spends money. The notice offers a retry with the same key while the shop keeps that key.
     */
    restore() {
      for (const intent of Object.values(intentStorage.all())) {
        dispatch({ type: 'intent/restored', intent, notice: isSafe(intent, now()) ? interrupted(intent) : tooLate(intent) });
      }
    },

    /** Drops an intent that another tab settled, and reads what may have changed. */
    settledElsewhere(key) {
      dispatch({ type: 'intent/settledElsewhere', key });
      return reads.refresh();
    },
  };
}
