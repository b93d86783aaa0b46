// The use cases: each talks to the API and tells the store what came of it. No DOM here.
import { ApiError } from './api.js';
import { parse } from './money.js';
import { isOpen } from './state.js';
import { readFailure, writeFailure } from './words.js';

const LEAST = 1n;
const LONGEST_ITEM = 200;
const REREAD_AT_ONCE = 10;

function checkItem(text) {
  const item = text.trim();
  const length = [...item].length;
  if (length === 0) return { error: 'is required' };
  if (length > LONGEST_ITEM) return { error: `must have at most ${LONGEST_ITEM} characters` };
  if (/\p{Cc}/u.test(item)) return { error: 'must not contain control characters' };
  return { item };
}

/** What was typed, checked: {values} or {errors} by field. */
function checkOrder(typed) {
  const { item, error: itemError } = checkItem(typed.item);
  const { amount: price, error: priceError } = parse(typed.price, LEAST);
  if (!itemError && !priceError) return { values: { item, price } };
  return { errors: { ...(itemError && { item: itemError }), ...(priceError && { price: priceError }) } };
}

function checkTopUp(text, least) {
  const { amount, error } = parse(text, least);
  return error ? { errors: { balance: error } } : { values: { amount } };
}

export function createShop(api, store) {
  const { dispatch } = store;
  const newestAsk = {};

  // Reads for the current user. Of each part of a source only the answer to the newest ask
  // counts: answers may overtake each other.
  async function read(source, load, part = 'newest') {
    const { user } = store.state;
    if (user === null) return;
    const key = `${source} ${part}`;
    const ask = (newestAsk[key] = {});
    const tell = (action) => newestAsk[key] === ask && dispatch({ ...action, about: user });
    try {
      tell(await load(user));
      tell({ type: 'read/succeeded', source });
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      tell({ type: 'read/failed', source, text: readFailure(error) });
    }
  }

  const readAccount = () => read('account', async (user) => ({ type: 'account/loaded', account: await api.account(user) }));

  const readStatement = () => read('statement', async (user) => ({ type: 'statement/loaded', page: await api.entries(user) }));

  const readMoney = () => Promise.all([readAccount(), store.state.statement.shown && readStatement()]);

  async function readOrders() {
    let seen = [];
    await read('orders', async (user) => {
      const page = await api.orders(user);
      seen = page.items.map((order) => order.id);
      return { type: 'orders/loaded', page };
    });
    return seen;
  }

  const refresh = () => Promise.all([readMoney(), readOrders()]);

  // Sends what was checked, once: whether to send it again is for the visitor to say.
  async function write(topic, { values, errors }, send) {
    const { user } = store.state;
    if (user === null || store.state[topic].busy) return false;
    if (errors) {
      dispatch({ type: `${topic}/refused`, errors });
      return false;
    }
    dispatch({ type: `${topic}/sent` });
    try {
      dispatch({ ...(await send(user, values)), about: user });
      return store.state.user === user;
    } catch (error) {
      if (!(error instanceof ApiError)) throw error;
      failed(topic, error, user, values);
      return false;
    }
  }

  function failed(topic, error, user, values) {
    const refused = error.done === 'no' && !error.transient;
    const byField = Object.keys(error.fields).length > 0 ? error.fields : { form: error.message };
    dispatch({ type: `${topic}/refused`, errors: refused ? byField : {}, about: user });
    if (refused) return;
    dispatch({ type: 'notice/shown', topic, notice: writeFailure(topic, error, user, values) });
    if (error.done === 'unknown') refresh();
  }

  return {
    refresh,
    readMoney,

    chooseUser(user) {
      dispatch({ type: 'user/chosen', user });
      return refresh();
    },

    /** Opens the account with the amount that was typed, or tops it up; true when it is done. */
    async topUp(text) {
      const least = store.state.account.status === 'none' ? 0n : LEAST;
      const done = await write('topUp', checkTopUp(text, least), async (user, { amount }) => ({
        type: 'topUp/done', account: await api.topUp(user, amount),
      }));
      if (done) readMoney();
      return done;
    },

    /** Places an order for what was typed; true when the shop has accepted it. */
    placeOrder: (typed) => write('order', checkOrder(typed), async (user, order) => ({
      type: 'order/placed', order: await api.placeOrder(user, order),
    })),

    /** Reads the orders that may change by themselves: the newest page, and open ones beyond it one by one. */
    async readOpenOrders() {
      const seen = await readOrders();
      const left = store.state.orders.items.filter((order) => isOpen(order) && !seen.includes(order.id)).slice(0, REREAD_AT_ONCE);
      if (seen.length === 0 || left.length === 0) return;
      await read('orders', async () => ({
        type: 'orders/reread', orders: await Promise.all(left.map((order) => api.order(order.id))),
      }), 'open');
    },

    showMoreOrders: () => read('orders', async (user) => {
      const cursor = store.state.orders.nextCursor;
      return { type: 'orders/olderLoaded', cursor, page: await api.orders(user, cursor) };
    }, 'older'),

    toggleStatement(shown) {
      dispatch({ type: 'statement/toggled', shown });
      return shown ? readStatement() : undefined;
    },

    showMoreEntries: () => read('statement', async (user) => {
      const cursor = store.state.statement.nextCursor;
      return { type: 'statement/olderLoaded', cursor, page: await api.entries(user, cursor) };
    }, 'older'),

    dismiss: (topic) => dispatch({ type: 'notice/dismissed', topic }),
  };
}
