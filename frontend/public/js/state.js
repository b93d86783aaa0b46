// The page's whole state, and the one pure function that changes it.
import { emptyList, withItems, withNewest, withOlder } from './paged.js';
import { orderWords } from './words.js';

const TERMINAL = new Set(['PAID', 'CANCELLED']);

/** An order that may still change by itself, one of a status unknown to the page too. */
export const isOpen = (order) => !TERMINAL.has(order.status);

// Ids are UUIDv7: their text sorts by time, as the API's pages do.
const ORDERS = {
  key: (order) => order.id,
  newer: (a, b) => (a.id < b.id ? 1 : -1),
  fresher: (a, b) => a.version > b.version,
};
const ENTRIES = {
  key: (entry) => entry.seq,
  newer: (a, b) => b.seq - a.seq,
  fresher: () => false, // an entry never changes
};

const idleForm = { busy: false, errors: {} };

/**
 * - account.status: 'unknown' until it was read, then 'none' or 'open'
 * - topUp, order: the two forms, what is wrong by field; `form` is what belongs to no field
 * - settled: how many orders were seen to reach their end; it grows when the balance may have changed
 * - failing: what could not be read the last time, by its source
 * - notices: by topic, {text, retry?}
 * - said: the last thing told to screen readers; a new object each time
 */
export const initialState = {
  user: null,
  userError: '',
  account: { status: 'unknown', balance: 0n },
  topUp: idleForm,
  order: idleForm,
  orders: emptyList,
  statement: { shown: false, ...emptyList },
  settled: 0,
  failing: {},
  failingDismissed: false,
  notices: {},
  said: { text: '' },
};

function withOrders(state, orders) {
  const before = new Map(state.orders.items.map((order) => [order.id, order]));
  // Once the list was read, an order that is new to it and has ended was placed elsewhere just now.
  const wasOpen = ({ id }) => (before.has(id) ? isOpen(before.get(id)) : state.orders.loaded);
  const ended = orders.items.filter((order) => !isOpen(order) && wasOpen(order));
  if (ended.length === 0) return { ...state, orders };
  return { ...state, orders, settled: state.settled + ended.length, said: { text: ended.map(orderWords).join(' ') } };
}

function without(record, name) {
  const { [name]: _, ...rest } = record;
  return rest;
}

const reducers = {
  'user/chosen': ({ notices, statement: { shown } }, { user }) => ({
    ...initialState, user, notices, statement: { ...initialState.statement, shown },
  }),
  'user/refused': (state, { error }) => ({ ...state, userError: error }),

  'account/loaded': (state, { account }) => ({
    ...state,
    account: account ? { status: 'open', balance: account.balance } : { status: 'none', balance: 0n },
  }),

  'topUp/sent': (state) => ({ ...state, topUp: { busy: true, errors: {} }, notices: without(state.notices, 'topUp') }),
  'topUp/refused': (state, { errors }) => ({ ...state, topUp: { busy: false, errors } }),
  'topUp/done': (state, { account }) => ({
    ...state,
    topUp: idleForm,
    account: { status: 'open', balance: account.balance },
    said: { text: 'The account was topped up.' },
  }),

  'order/sent': (state) => ({ ...state, order: { busy: true, errors: {} }, notices: without(state.notices, 'order') }),
  'order/refused': (state, { errors }) => ({ ...state, order: { busy: false, errors } }),
  'order/placed': (state, { order }) => {
    const seen = state.orders.items.some(({ id }) => id === order.id);
    const said = seen ? state.said : { text: orderWords(order) };
    return { ...withOrders({ ...state, said }, withItems(ORDERS, state.orders, [order])), order: idleForm };
  },

  'orders/loaded': (state, { page }) => withOrders(state, withNewest(ORDERS, state.orders, page)),
  'orders/olderLoaded': (state, { cursor, page }) => ({ ...state, orders: withOlder(ORDERS, state.orders, cursor, page) }),
  'orders/reread': (state, { orders }) => withOrders(state, withItems(ORDERS, state.orders, orders)),

  'statement/toggled': (state, { shown }) => ({ ...state, statement: { ...state.statement, shown } }),
  'statement/loaded': (state, { page }) => ({
    ...state, statement: withNewest(ENTRIES, state.statement, page),
  }),
  'statement/olderLoaded': (state, { cursor, page }) => ({
    ...state, statement: withOlder(ENTRIES, state.statement, cursor, page),
  }),

  'read/succeeded': (state, { source }) => {
    const failing = without(state.failing, source);
    return { ...state, failing, failingDismissed: state.failingDismissed && Object.keys(failing).length > 0 };
  },
  'read/failed': (state, { source, text }) => ({ ...state, failing: { ...state.failing, [source]: text } }),

  'notice/shown': (state, { topic, notice }) => ({ ...state, notices: { ...state.notices, [topic]: notice } }),
  'notice/dismissed': (state, { topic }) => (
    topic === 'read' ? { ...state, failingDismissed: true } : { ...state, notices: without(state.notices, topic) }),
};

/** The next state. An action that is `about` another user than the one now shown came too late and changes nothing. */
export function reduce(state, action) {
  if (action.about !== undefined && action.about !== state.user) return state;
  return reducers[action.type](state, action);
}

/** The notices to show: those about the visitor's own doing, then one for all that cannot be read. */
export function shownNotices({ notices, failing, failingDismissed }) {
  const shown = Object.entries(notices).map(([topic, notice]) => ({ topic, ...notice }));
  const [text] = Object.values(failing);
  if (text && !failingDismissed) shown.push({ topic: 'read', text, retry: { what: 'refresh', label: 'Try again' } });
  return shown;
}
