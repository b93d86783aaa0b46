// The use cases. Each calls the API and dispatches the result to the store. There is no DOM access here.
// The use cases that only read are in this file; those that change something are in writes.js.
import { ApiError } from './api.js';
import { isOpen } from './state.js';
import { readFailure } from './words.js';
import { createWrites } from './writes.js';

const MAX_SINGLE_READS = 10;

/** @param {{intentStorage?: object, retryDelays?: number[], now?: () => number}} options see createWrites */
export function createShop(api, store, options = {}) {
  const { dispatch } = store;
  const { now = Date.now } = options;
  const latest = {}; // the latest request for each part of a source

  // Reads for the current user. Resolves to false if the read failed. Responses can arrive out of order,
  // so only the response to the latest request for a part of a source is used.
  async function read(source, load, part = 'newest') {
    const { user } = store.state;
    if (user === null) return true;
    const key = `${source} ${part}`;
    const request = (latest[key] = {});
    const dispatchIfLatest = (action) => latest[key] === request && dispatch({ ...action, about: user });
    try {
      dispatchIfLatest(await load(user));
      dispatchIfLatest({ type: 'read/succeeded', source });
      return true;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      dispatchIfLatest({ type: 'read/failed', source, text: readFailure(error) });
      return false;
    }
  }

  // Reads the balance and, if it is open, the statement. Both go into one action, so that they never contradict each other.
  const readMoney = () => read('money', async (user) => {
    const at = now();
    const [account, page] = await Promise.all([api.account(user), store.state.statement.shown ? api.entries(user) : undefined]);
    return { type: 'money/loaded', account, page, at };
  });

  async function readOrders() {
    let ids = [];
    await read('orders', async (user) => {
      const page = await api.orders(user);
      ids = page.items.map((order) => order.id);
      return { type: 'orders/loaded', page };
    });
    return ids;
  }

  // Reads open orders one by one, except those that were just read as part of the newest page.
  async function readOtherOpenOrders(justRead) {
    const others = store.state.orders.items.filter((order) => isOpen(order) && !justRead.includes(order.id)).slice(0, MAX_SINGLE_READS);
    if (justRead.length === 0 || others.length === 0) return;
    await read('orders', async () => ({
      type: 'orders/changed', orders: await Promise.all(others.map((order) => api.order(order.id))),
    }), 'open');
  }

  const refresh = () => Promise.all([readMoney(), readOrders()]);

  const eventHandlers = {
    snapshot(user, page) {
      dispatch({ type: 'orders/loaded', page, about: user });
      dispatch({ type: 'read/succeeded', source: 'orders', about: user });
      if (store.state.user === user) readOtherOpenOrders(page.items.map((order) => order.id));
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

    /** Handles an event of the user's stream. */
    handleEvent: (user, name, data) => eventHandlers[name](user, data),

    /** Sets whether the stream delivers the user's changes. */
    setLive: (user, live) => dispatch({ type: 'stream/live', live, about: user }),

    /** Reads the newest page of orders, and the open orders beyond it. */
    readOpenOrders: async () => readOtherOpenOrders(await readOrders()),

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

    /** Asks the visitor to confirm the cancellation of an order. Without an id, it withdraws the question. */
    askToConfirmCancel: (id = '') => dispatch({ type: 'cancel/asked', id }),

    dismiss: (id) => dispatch({ type: 'notice/dismissed', id }),
  };
}
