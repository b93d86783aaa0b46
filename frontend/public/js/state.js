// The state of the page, and the pure reducer that changes it.
import { emptyList, withItems, withChanged, withNewest, withOlder } from './paged.js';
import { orderWords } from './words.js';

const TERMINAL = new Set(['PAID', 'CANCELLED']);

const CANCELLABLE = new Set(['NEW', 'PAID']);

/** Reports whether the order may still change without the visitor. An unknown status counts as open. */
export const isOpen = (order) => !TERMINAL.has(order.status);

export const isCancellable = (order) => CANCELLABLE.has(order.status);

// Ids are UUIDv7, so their text sorts by time, in the same order as the API's pages.
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

const idleForm = { errors: {}, done: null };

/**
 * - account.status: 'unknown' until the first read, then 'none' or 'open'; account.at: when the newest read started
 * - topUp, order: the two forms; errors by field (`form` for an error without a field), and the typed input of the last success
 * - live: whether the stream delivers changes of orders as they happen
 * - confirming: the id of the order whose cancellation the visitor is asked to confirm, or ''
 * - settled: the number of orders that reached a terminal status while the page was open; when it grows, the balance may have changed
 * - failing: texts about failed reads, by source; a success removes the text
 * - intents: by key, the requests in flight or without a definite answer, of all users
 * - notices: by id, {topic, text, retry?}; a notice about an intent has the intent's key as its id
 * - announcement: the last text for screen readers; a new object each time
 */
export const initialState = {
  user: null,
  userError: '',
  account: { status: 'unknown', balance: 0n, at: 0 },
  topUp: idleForm,
  order: idleForm,
  orders: emptyList,
  live: false,
  confirming: '',
  statement: { shown: false, ...emptyList },
  settled: 0,
  failing: {},
  failingDismissed: false,
  intents: {},
  notices: {},
  announcement: { text: '' },
};

// Sets the list of orders. Orders in `seen` that have just ended are announced and counted as settled.
function withOrders(state, orders, seen = orders.items) {
  const previous = new Map(state.orders.items.map((order) => [order.id, order]));
  // If the list was loaded before, an ended order that is new to it was placed elsewhere and has just ended.
  const isNews = ({ id, status, version }) => {
    const known = previous.get(id);
    return known ? version > known.version && status !== known.status : state.orders.loaded;
  };
  const ended = seen.filter((order) => !isOpen(order) && isNews(order));
  const next = withoutObsoleteCancels({ ...state, orders });
  if (ended.length === 0) return next;
  return { ...next, settled: state.settled + ended.length, announcement: { text: ended.map(orderWords).join(' ') } };
}

// Drops cancel intents, and the confirmation question, for orders that can no longer be cancelled.
function withoutObsoleteCancels(state) {
  const notCancellable = new Set(state.orders.items.filter((order) => !isCancellable(order)).map(({ id }) => id));
  const obsolete = Object.values(state.intents).filter(({ topic, busy, values }) => topic === 'cancel' && !busy && notCancellable.has(values.id));
  const rest = obsolete.reduce((left, { key }) => withoutIntent(left, key), state);
  return notCancellable.has(rest.confirming) ? { ...rest, confirming: '' } : rest;
}

function withoutIntent(state, key) {
  return { ...state, intents: without(state.intents, key), notices: without(state.notices, key) };
}

function without(record, name) {
  const { [name]: _, ...rest } = record;
  return rest;
}

const reducers = {
  'user/chosen': ({ intents, notices, statement: { shown } }, { user }) => ({
    ...initialState, user, intents, notices, statement: { ...initialState.statement, shown },
  }),
  'user/refused': (state, { error }) => ({ ...state, userError: error }),

  // With a statement, the balance is taken from its newest entry, so both agree even if money moved between the two reads.
  'money/loaded': (state, { account, page, at }) => {
    const statement = page && state.statement.shown ? withNewest(ENTRIES, state.statement, page) : state.statement;
    const balance = statement.items[0]?.balanceAfter ?? account?.balance;
    return {
      ...state, statement, account: balance === undefined ? { status: 'none', balance: 0n, at } : { status: 'open', balance, at },
    };
  },

  'intent/sent': (state, { intent }) => {
    const sent = { ...state, intents: { ...state.intents, [intent.key]: { ...intent, busy: true } } };
    const form = intent.topic !== 'cancel' && intent.user === state.user;
    return form ? { ...sent, [intent.topic]: { ...state[intent.topic], errors: {} } } : sent;
  },
  'intent/settled': (state, { key }) => withoutIntent(state, key),
  // Another tab got the answer or dismissed the intent. A request in flight in this tab continues.
  'intent/settledElsewhere': (state, { key }) => (state.intents[key]?.busy ? state : withoutIntent(state, key)),
  'intent/failed': (state, { key, unknown, notice }) => ({
    ...state,
    intents: { ...state.intents, [key]: { ...state.intents[key], busy: false, unknown } },
    notices: { ...state.notices, [key]: notice },
  }),
  'intent/restored': (state, { intent, notice }) => ({
    ...state,
    intents: { ...state.intents, [intent.key]: intent },
    notices: { ...state.notices, [intent.key]: notice },
  }),

  'topUp/refused': (state, { errors }) => ({ ...state, topUp: { ...state.topUp, errors } }),
  // The balance in the response is ignored: a replayed response is stale, and the balance could contradict an open statement.
  'topUp/done': (state, { typed }) => ({
    ...state, topUp: { errors: {}, done: { typed } }, announcement: { text: 'Your account was topped up.' },
  }),

  'order/refused': (state, { errors }) => ({ ...state, order: { ...state.order, errors } }),
  'order/placed': (state, { order, typed }) => {
    const seen = state.orders.items.some(({ id }) => id === order.id);
    const announcement = seen ? state.announcement : { text: orderWords(order) };
    return { ...withOrders({ ...state, announcement }, withItems(ORDERS, state.orders, [order])), order: { errors: {}, done: { typed } } };
  },

  'cancel/asked': (state, { id }) => ({ ...state, confirming: id }),
  'cancel/accepted': (state, { order }) => {
    const announcement = isOpen(order) ? { text: orderWords(order) } : state.announcement;
    return withOrders({ ...state, announcement }, withItems(ORDERS, state.orders, [order]));
  },

  'stream/live': (state, { live }) => (live === state.live ? state : { ...state, live }),

  'orders/loaded': (state, { page }) => withOrders(state, withNewest(ORDERS, state.orders, page)),
  'orders/olderLoaded': (state, { cursor, page }) => ({ ...state, orders: withOlder(ORDERS, state.orders, cursor, page) }),
  'orders/changed': (state, { orders }) => withOrders(state, withChanged(ORDERS, state.orders, orders), orders),

  // A statement that is reopened starts empty and is read again, because the old entries could contradict the balance.
  'statement/toggled': (state, { shown }) => ({ ...state, statement: { ...initialState.statement, shown } }),
  'statement/olderLoaded': (state, { cursor, page }) => ({
    ...state, statement: withOlder(ENTRIES, state.statement, cursor, page),
  }),

  'read/succeeded': (state, { source }) => {
    const failing = without(state.failing, source);
    return { ...state, failing, failingDismissed: state.failingDismissed && Object.keys(failing).length > 0 };
  },
  'read/failed': (state, { source, text }) => ({ ...state, failing: { ...state.failing, [source]: text } }),

  'notice/shown': (state, { id, notice }) => ({ ...state, notices: { ...state.notices, [id]: notice } }),
  'notice/dismissed': (state, { id }) => {
    if (id === 'read') return { ...state, failingDismissed: true };
    // Dismissing a notice drops its intent, unless the request is in flight.
    return state.intents[id]?.busy ? { ...state, notices: without(state.notices, id) } : withoutIntent(state, id);
  },
};

/** Returns the next state. An action that is `about` a user other than the current one is ignored as stale. */
export function reduce(state, action) {
  if (action.about !== undefined && action.about !== state.user) return state;
  return reducers[action.type](state, action);
}

/** Returns the notices to show: first those about the visitor's own requests, then one for all failed reads. */
export function shownNotices({ intents, notices, failing, failingDismissed }) {
  const shown = Object.entries(notices).map(([id, notice]) => ({ id, busy: intents[id]?.busy ?? false, ...notice }));
  const [text] = Object.values(failing);
  if (text && !failingDismissed) shown.push({ id: 'read', topic: 'read', busy: false, text, retry: { action: 'refresh', label: 'Try again' } });
  return shown;
}
