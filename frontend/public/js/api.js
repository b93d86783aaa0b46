// The shop's HTTP API: exact values in and out, and one error type that says
// what is known about a call that failed.
import * as json from './json.js';
import { fromLiteral } from './money.js';

const TIMEOUT = 20_000;
const PAGE = 20;

/**
 * A call that failed.
 * - status: the HTTP status, 0 when no answer came
 * - fields: what is wrong with each field, by its name; other complaints are in message
 * - done: 'no' when the shop refused and nothing happened, 'unknown' when it may have happened
 * - transient: whether the same call may well succeed later
 */
export class ApiError extends Error {
  constructor({ status = 0, message, fields = {}, requestId = '', cause }) {
    super(message, { cause });
    this.name = 'ApiError';
    this.status = status;
    this.fields = fields;
    this.requestId = requestId;
    this.done = (status >= 400 && status < 500) || status === 503 ? 'no' : 'unknown';
    this.transient = status === 0 || status === 429 || status >= 500;
  }
}

// A JSON Pointer to a member of the body; a deeper one belongs to its outermost member.
function fieldOf(pointer) {
  const [, name = ''] = pointer.split('/');
  return name.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** Maps an answer that is not 2xx: a problem document (RFC 9457), or whatever a proxy made up. */
export function problemError(response, body) {
  const { status } = response;
  let problem = {};
  if (/^application\/(problem\+)?json\b/i.test(response.headers.get('Content-Type') ?? '')) {
    try {
      problem = json.parse(body) ?? {};
    } catch {
      // A cut document tells no more than its status.
    }
  }
  const fields = {};
  const others = [];
  for (const { pointer, parameter, detail = 'is not acceptable' } of Array.isArray(problem.errors) ? problem.errors : []) {
    const name = typeof pointer === 'string' ? fieldOf(pointer) : '';
    if (name) fields[name] ??= detail;
    else others.push(parameter ? `${parameter} ${detail}` : detail);
  }
  return new ApiError({
    status,
    message: others.join('; ') || problem.detail || problem.title || `the shop answered ${status}`,
    fields,
    requestId: problem.request_id || response.headers.get('X-Request-Id') || '',
  });
}

const decodeAccount = (raw) => ({ user: Number(raw.user_id), balance: fromLiteral(raw.balance) });

const decodeOrder = (raw) => ({
  id: String(raw.id),
  item: String(raw.item),
  price: fromLiteral(raw.price),
  status: String(raw.status),
  reason: raw.cancel_reason ?? '',
  version: Number(raw.version),
  createdAt: String(raw.created_at),
});

const decodeEntry = (raw) => ({
  seq: Number(raw.seq),
  kind: String(raw.kind),
  amount: fromLiteral(raw.amount),
  balanceAfter: fromLiteral(raw.balance_after),
  orderId: raw.order_id ?? '',
  createdAt: String(raw.created_at),
});

const decodePage = (name, decode) => (raw) => ({
  items: raw[name].map(decode),
  nextCursor: raw.next_cursor ?? '',
});

/** @param {{base?: string, timeout?: number}} options base: the API's origin, by default the page's own */
export function createApi({ base = '', timeout = TIMEOUT } = {}) {
  async function call(path, decode, body) {
    let response;
    let text;
    try {
      response = await fetch(base + path, {
        method: body ? 'POST' : 'GET',
        headers: body ? { 'Content-Type': 'application/json' } : {},
        body: body && json.stringify(body),
        signal: AbortSignal.timeout(timeout),
        cache: 'no-store',
        redirect: 'error',
      });
      text = await response.text();
    } catch (cause) {
      const late = cause.name === 'TimeoutError';
      throw new ApiError({ message: late ? 'the shop did not answer in time' : 'the shop cannot be reached', cause });
    }
    if (!response.ok) throw problemError(response, text);
    try {
      return decode(json.parse(text));
    } catch (cause) {
      throw new ApiError({ message: 'the shop’s answer cannot be read', cause });
    }
  }

  const page = (cursor) => `limit=${PAGE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;

  async function orWhenNone(none, answer) {
    try {
      return await answer;
    } catch (error) {
      if (error.status === 404) return none;
      throw error;
    }
  }

  return {
    /** The user's account, or null when there is none. */
    account: (user) => orWhenNone(null, call(`/accounts/${user}`, decodeAccount)),
    /** Opens the account with that balance, or adds it to what is there. */
    topUp: (user, amount) => call('/accounts/', decodeAccount, { user_id: user, balance: amount }),
    /** A page of the user's statement; an empty one when there is no account. */
    entries: (user, cursor) => orWhenNone(
      { items: [], nextCursor: '' },
      call(`/accounts/${user}/entries?${page(cursor)}`, decodePage('entries', decodeEntry)),
    ),
    placeOrder: (user, { item, price }) => call('/orders/', decodeOrder, { user_id: user, item, price }),
    orders: (user, cursor) => call(`/orders/?user_id=${user}&${page(cursor)}`, decodePage('orders', decodeOrder)),
    order: (id) => call(`/orders/${encodeURIComponent(id)}`, decodeOrder),
  };
}
