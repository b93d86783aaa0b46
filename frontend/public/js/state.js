// The page's whole state, and the one pure function that changes it.
import { emptyList, withItems, withKnown, withNewest, withOlder } from './paged.js';
import { orderWords } from './words.js';

const TERMINAL = new Set(['PAID', 'CANCELLED']);

const CANCELLABLE = new Set(['NEW', 'PAID']);

/** An order that may still change by itself, one of a status unknown to the page too. */
export const isOpen = (order) => !TERMINAL.has(order.status);

export const isCancellable = (order) => CANCELLABLE.has(order.status);

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

const idleForm = { errors: {}, done: null };

/**
 * - account.status: 'unknown' until it was read, then 'none' or 'open'; account.at: when its newest read began
 * - topUp, order: the two forms: what is wrong by field (`form` is what belongs to no field), and what was typed for the last thing done
 * - live: whether changes of orders are told as they happen
 * - asking: the id of the order of which it is asked whether to cancel it indeed, or ''
 * - settled: how many orders were seen to reach an end; it grows when the balance may have changed
 * - failing: what could not be read the last time, by its source
 * - intents: by key, what is under way or has no definite answer yet, of every user
 * - notices: by id, {topic, text, retry?}; the one about an intent has its key
 * - said: the last thing told to screen readers; a new object each time
 */
export const initialState = {
  user: null,
  userError: '',
  account: { status: 'unknown', balance: 0n, at: 0 },
  topUp: idleForm,
  order: idleForm,
  orders: emptyList,
  live: false,
  asking: '',
  statement: { shown: false, ...emptyList },
  settled: 0,
  failing: {},
  failingDismissed: false,
  intents: {},
  notices: {},
  said: { text: '' },
};

// Takes in `seen` orders: those that have just ended are told, and may have moved money.
function withOrders(state, orders, seen = orders.items) {
  const before = new Map(state.orders.items.map((order) => [order.id, order]));
  // Once the list was read, an order that is new to it and has ended did so just now, elsewhere.
  const isNews = ({ id, status, version }) => {
    const known = before.get(id);
    return known ? version > known.version && status !== known.status : state.orders.loaded;
  };
  const ended = seen.filter((order) => !isOpen(order) && isNews(order));
  const next = withoutAnswered({ ...state, orders });
  if (ended.length === 0) return next;
  return { ...next, settled: state.settled + ended.length, said: { text: ended.map(orderWords).join(' ') } };
}

// An order that can be cancelled no more answers each wish to cancel it.
function withoutAnswered(state) {
  const gone = new Set(state.orders.items.filter((order) => !isCancellable(order)).map(({ id }) => id));
  const answered = Object.values(state.intents).filter(({ topic, busy, values }) => topic === 'cancel' && !busy && gone.has(values.id));
  const rest = answered.reduce((left, { key }) => withoutIntent(left, key), state);
  return gone.has(rest.asking) ? { ...rest, asking: '' } : rest;
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

  // With a statement, the balance is that of its newest entry: whatever moved between the two reads, both agree.
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
  // Another tab got the answer, or gave it up. This one's own request, if it has one, is still answered.
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
  // The answer's balance is left alone: a replayed one is old, and a statement that is shown would contradict it.
  'topUp/done': (state, { typed }) => ({
    ...state, topUp: { errors: {}, done: { typed } }, said: { text: 'The account was topped up.' },
  }),

  'order/refused': (state, { errors }) => ({ ...state, order: { ...state.order, errors } }),
  'order/placed': (state, { order, typed }) => {
    const seen = state.orders.items.some(({ id }) => id === order.id);
    const said = seen ? state.said : { text: orderWords(order) };
    return { ...withOrders({ ...state, said }, withItems(ORDERS, state.orders, [order])), order: { errors: {}, done: { typed } } };
  },

  'cancel/asked': (state, { id }) => ({ ...state, asking: id }),
  'cancel/accepted': (state, { order }) => {
    const said = isOpen(order) ? { text: orderWords(order) } : state.said;
    return withOrders({ ...state, said }, withItems(ORDERS, state.orders, [order]));
  },

  'stream/live': (state, { live }) => (live === state.live ? state : { ...state, live }),

  'orders/loaded': (state, { page }) => withOrders(state, withNewest(ORDERS, state.orders, page)),
  'orders/olderLoaded': (state, { cursor, page }) => ({ ...state, orders: withOlder(ORDERS, state.orders, cursor, page) }),
  'orders/changed': (state, { orders }) => withOrders(state, withKnown(ORDERS, state.orders, orders), orders),

  // One that is opened again is read again: what it was would contradict the balance meanwhile.
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
    // What is under way goes on; what is not is given up with its notice.
    return state.intents[id]?.busy ? { ...state, notices: without(state.notices, id) } : withoutIntent(state, id);
  },
};

/** The next state. An action that is `about` another user than the one now shown came too late and changes nothing. */
export function reduce(state, action) {
  if (action.about !== undefined && action.about !== state.user) return state;
  return reducers[action.type](state, action);
}

/** The notices to show: those about the visitor's own doing, then one for all that cannot be read. */
export function shownNotices({ intents, notices, failing, failingDismissed }) {
  const shown = Object.entries(notices).map(([id, notice]) => ({ id, busy: intents[id]?.busy ?? false, ...notice }));
  const [text] = Object.values(failing);
  if (text && !failingDismissed) shown.push({ id: 'read', topic: 'read', busy: false, text, retry: { what: 'refresh', label: 'Try again' } });
  return shown;
}
