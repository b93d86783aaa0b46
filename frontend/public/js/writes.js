// The use cases that change something. Each thing has one key for all its tries, so the shop does it once.
import { ApiError } from './api.js';
import { checkOrder, checkTopUp } from './checks.js';
import { findSame, isBusy, isSafe, newIntent } from './intents.js';
import { cancelRefusal, tooLate, writeFailure } from './words.js';

const PAUSES = [500, 2_000];
const PATIENCE = 10_000;

/**
 * @param {{refresh: () => Promise, readMoney: () => Promise}} reads what to look at afterwards
 * @param {{pauses?: number[], now?: () => number}} options pauses: before each try after the first, in milliseconds
 */
export function createWrites(api, store, reads, { pauses = PAUSES, now = Date.now } = {}) {
  const { dispatch } = store;

  const requests = {
    order: async ({ user, values, key, typed }) => ({ type: 'order/placed', order: await api.placeOrder(user, values, key), typed }),
    topUp: async ({ user, values, key, typed }) => ({ type: 'topUp/done', account: await api.topUp(user, values.amount, key), typed }),
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

  function refused({ key, topic, user, values }, error) {
    if (topic === 'cancel') {
      dispatch({ type: 'notice/shown', id: key, notice: cancelRefusal(values, error) });
      reads.refresh();
      return;
    }
    const byField = Object.keys(error.fields).length > 0 ? error.fields : { form: error.message };
    dispatch({ type: `${topic}/refused`, errors: byField, about: user });
  }

  // What was asked for before, and has no definite answer yet, is asked for again under its key.
  async function begin(topic, values, typed) {
    const { user, intents } = store.state;
    if (user === null || isBusy(store.state, topic, values.id)) return false;
    const same = findSame(intents, topic, user, values);
    const intent = same && isSafe(same, now()) ? same : newIntent(topic, user, values, now());
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
      dispatch({ type: 'intent/settled', key });
      dispatch({ type: 'notice/shown', id: key, notice: tooLate(intent) });
      return false;
    },
  };
}
