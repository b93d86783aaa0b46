// The use cases that change something. Each thing has one key for all its tries, so the shop does it once.
import { ApiError } from './api.js';
import { checkOrder, checkTopUp } from './checks.js';
import { findSame, isBusy, isSafe, newIntent } from './intents.js';
import { cancelRefusal, cutOff, keyReused, tooLate, writeFailure } from './words.js';

const PAUSES = [500, 2_000];
const PATIENCE = 10_000;
const KEY_REUSED = 'idempotency-key-reused'; // the shop did something else under this key

/**
 * @param {{refresh: () => Promise, readMoney: () => Promise}} reads what to look at afterwards
 * @param {{kept?: {all: () => object}, pauses?: number[], now?: () => number}} options
 *   kept: the intents of unknown outcome of every tab; pauses: before each try after the first, in milliseconds
 */
export function createWrites(api, store, reads, { kept = { all: () => ({}) }, pauses = PAUSES, now = Date.now } = {}) {
  const { dispatch } = store;

  const requests = {
    order: async ({ user, values, key, typed }) => ({ type: 'order/placed', order: await api.placeOrder(user, values, key), typed }),
    topUp: async ({ user, values, key, typed }) => {
      await api.topUp(user, values.amount, key);
      return { type: 'topUp/done', typed };
    },
    cancel: async ({ values, key }) => ({ type: 'cancel/accepted', order: await api.cancelOrder(values.id, key) }),
  };

  // The very same request, until its outcome is known or patience ends: {news} or {error, unknown}.
  // Once a try may have done it, only a definite answer says more: a 503 to the next one does not.
  async function attempt(intent) {
    const started = now();
    let { unknown } = intent;
    for (let tries = 0; ; tries += 1) {
      try {
        return { news: await requests[intent.topic](intent) };
      } catch (error) {
        if (!(error instanceof ApiError)) throw error;
        unknown = error.transient && (unknown || error.done === 'unknown');
        if (!error.transient || tries >= pauses.length) return { error, unknown };
        await new Promise((resolve) => { setTimeout(resolve, pauses[tries]); });
        if (now() - started > PATIENCE) return { error, unknown };
      }
    }
  }

  async function send(intent) {
    const { key, topic, user } = intent;
    dispatch({ type: 'intent/sent', intent });
    const { news, error, unknown } = await attempt(intent);
    if (news || !error.transient) {
      dispatch({ type: 'intent/settled', key });
      if (!news) refused(intent, error);
      else dispatch({ ...news, about: user });
      if (news && topic === 'topUp') reads.readMoney();
      return Boolean(news) && store.state.user === user;
    }
    dispatch({ type: 'intent/failed', key, unknown, notice: writeFailure(intent, error, unknown) });
    if (unknown) reads.refresh();
    return false;
  }

  function refused(intent, error) {
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
    const byField = Object.keys(error.fields).length > 0 ? error.fields : { form: error.message };
    dispatch({ type: `${topic}/refused`, errors: byField, about: user });
  }

  // What was asked for before, in any tab, and has no definite answer yet, is asked for again under its key.
  async function begin(topic, values, typed) {
    const { user, intents } = store.state;
    if (user === null || isBusy(store.state, topic, values.id)) return false;
    const same = findSame({ ...kept.all(), ...intents }, topic, user, values, now());
    const intent = same ?? newIntent(topic, user, values, now());
    return send({ ...intent, typed });
  }

  async function submit(topic, { values, errors }, typed) {
    if (values) return begin(topic, values, typed);
    if (store.state.user !== null && !isBusy(store.state, topic)) dispatch({ type: `${topic}/refused`, errors });
    return false;
  }

  return {
    /** Opens the account with the amount that was typed, or tops it up; true when it is done. */
    topUp: (text) => submit('topUp', checkTopUp(text, store.state.account.status === 'none'), text),

    /** Places an order for what was typed; true when the shop has accepted it. */
    placeOrder: (typed) => submit('order', checkOrder(typed), typed),

    /** Asks for an order to be cancelled; true when the shop has accepted that. */
    cancelOrder: ({ id, item }) => begin('cancel', { id, item }),

    /** Sends once more exactly what was sent under that key, whoever is shown now. */
    async tryAgain(key) {
      const intent = store.state.intents[key];
      if (!intent || intent.busy) return false;
      if (isSafe(intent, now())) return send(intent);
      dispatch({ type: 'intent/failed', key, unknown: true, notice: tooLate(intent) });
      return false;
    },

    /**
     * Takes up what was under way when the page was left, without sending anything: only the visitor
     * spends money. The notice offers to send it again under its key, while the shop knows that.
     */
    restore() {
      for (const intent of Object.values(kept.all())) {
        dispatch({ type: 'intent/restored', intent, notice: isSafe(intent, now()) ? cutOff(intent) : tooLate(intent) });
      }
    },

    /** Forgets an intent that another tab has an answer to, and looks at what that changed. */
    settledElsewhere(key) {
      dispatch({ type: 'intent/settledElsewhere', key });
      return reads.refresh();
    },
  };
}
