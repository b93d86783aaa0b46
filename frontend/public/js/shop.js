// The use cases: each talks to the API and tells the store what came of it. No DOM here.
// What only looks is here; what changes something is in writes.js.
import { ApiError } from './api.js';
import { isOpen } from './state.js';
import { readFailure } from './words.js';
import { createWrites } from './writes.js';

const REREAD_AT_ONCE = 10;

/** @param {{kept?: object, pauses?: number[], now?: () => number}} options kept: what outlives this page; see writes.js */
export function createShop(api, store, options = {}) {
  const { dispatch } = store;
  const { now = Date.now } = options;
  const newestAsk = {};

  // Reads for the current user: true unless it failed. Of each part of a source only the answer to the
  // newest ask counts: answers may overtake each other.
  async function read(source, load, part = 'newest') {
    const { user } = store.state;
    if (user === null) return true;
    const key = `${source} ${part}`;
    const ask = (newestAsk[key] = {});
    const tell = (action) => newestAsk[key] === ask && dispatch({ ...action, about: user });
    try {
      tell(await load(user));
      tell({ type: 'read/succeeded', source });
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      tell({ type: 'read/failed', source, text: readFailure(error) });
      return false;
    }
  }

  // The balance, and the statement where it is shown: one answer, so that the two never contradict each other.
  const readMoney = () => read('money', async (user) => {
    const at = now();
    const [account, page] = await Promise.all([api.account(user), store.state.statement.shown ? api.entries(user) : undefined]);
    return { type: 'money/loaded', account, page, at };
  });

  async function readOrders() {
    let seen = [];
    await read('orders', async (user) => {
      const page = await api.orders(user);
      seen = page.items.map((order) => order.id);
      return { type: 'orders/loaded', page };
    });
    return seen;
  }

  // Orders that may still change but are beyond what was just seen, one by one.
  async function readOthers(seen) {
    const left = store.state.orders.items.filter((order) => isOpen(order) && !seen.includes(order.id)).slice(0, REREAD_AT_ONCE);
    if (seen.length === 0 || left.length === 0) return;
    await read('orders', async () => ({
      type: 'orders/changed', orders: await Promise.all(left.map((order) => api.order(order.id))),
    }), 'open');
  }

  const refresh = () => Promise.all([readMoney(), readOrders()]);

  const hears = {
    snapshot(user, page) {
      dispatch({ type: 'orders/loaded', page, about: user });
      dispatch({ type: 'read/succeeded', source: 'orders', about: user });
      if (store.state.user === user) readOthers(page.items.map((order) => order.id));
    },
    order: (user, order) => dispatch({ type: 'orders/changed', orders: [order], about: user }),
  };

  return {
    ...createWrites(api, store, { refresh, readMoney }, options),
    refresh,
    readMoney,

    chooseUser(user) {
      dispatch({ type: 'user/chosen', user });
      return refresh();
    },

    /** Takes in an event of the user's stream. */
    hear: (user, name, told) => hears[name](user, told),

    /** Says whether changes are told as they happen. */
    live: (user, live) => dispatch({ type: 'stream/live', live, about: user }),

    /** Reads the orders that may change by themselves: the newest page, and open ones beyond it. */
    readOpenOrders: async () => readOthers(await readOrders()),

    showMoreOrders: () => read('orders', async (user) => {
      const cursor = store.state.orders.nextCursor;
      return { type: 'orders/olderLoaded', cursor, page: await api.orders(user, cursor) };
    }, 'older'),

    toggleStatement(shown) {
      dispatch({ type: 'statement/toggled', shown });
      return shown ? readMoney() : undefined;
    },

    showMoreEntries: () => read('statement', async (user) => {
      const cursor = store.state.statement.nextCursor;
      return { type: 'statement/olderLoaded', cursor, page: await api.entries(user, cursor) };
    }, 'older'),

    /** Asks the visitor whether the order is to be cancelled indeed; no order when it is to be kept. */
    askToCancel: (id = '') => dispatch({ type: 'cancel/asked', id }),

    dismiss: (id) => dispatch({ type: 'notice/dismissed', id }),
  };
}
