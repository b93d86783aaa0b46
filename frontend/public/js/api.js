// The shop's HTTP API: exact values in and out, and one error type that says
// what is known about a call that failed.
import * as json from './json.js';
import { decodeAccount, decodeEntries, decodeOrder, decodeOrders } from './wire.js';

const TIMEOUT = 20_000;
const PAGE = 20;
const IN_FLIGHT = 'request-in-flight'; // the same key's first request has no outcome yet

/**
 * A call that failed.
 * - status: the HTTP status, 0 when no answer came
 * - kind: the name of the problem's type, such as 'not-cancellable', or ''
 * - fields: what is wrong with each field, by its name; other complaints are in message
 * - done: 'no' when the shop refused and nothing happened, 'unknown' when it may have happened
 * - transient: whether the same call may well succeed later
 */
export class ApiError extends Error {
  constructor({ status = 0, kind = '', message, fields = {}, requestId = '', cause }) {
    super(message, { cause });
    this.name = 'ApiError';
    this.status = status;
    this.kind = kind;
    this.fields = fields;
    this.requestId = requestId;
    const refused = (status >= 400 && status < 500) || status === 503;
    this.done = refused && kind !== IN_FLIGHT ? 'no' : 'unknown';
    this.transient = this.done === 'unknown' || status === 429 || status === 503;
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
    kind: /\/problems\/([^/]+)\/?$/.exec(problem.type)?.[1],
    message: others.join('; ') || problem.detail || problem.title || `the shop answered ${status}`,
    fields,
    requestId: problem.request_id || response.headers.get('X-Request-Id') || '',
  });
}

/** @param {{base?: string, timeout?: number}} options base: the API's origin, by default the page's own */
export function createApi({ base = '', timeout = TIMEOUT } = {}) {
  async function call(path, decode, { method = 'GET', headers = {}, body } = {}) {
    let response;
    let text;
    try {
      response = await fetch(base + path, {
        method,
        headers,
        body,
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

  // The key says which intent the request serves: however often it arrives, the shop does it once.
  const post = (path, decode, key, fields) => call(path, decode, {
    method: 'POST',
    headers: { 'Idempotency-Key': `"${key}"`, ...(fields && { 'Content-Type': 'application/json' }) },
    body: fields && json.stringify(fields),
  });

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
    topUp: (user, amount, key) => post('/accounts/', decodeAccount, key, { user_id: user, balance: amount }),
    /** A page of the user's statement; an empty one when there is no account. */
    entries: (user, cursor) => orWhenNone(
      { items: [], nextCursor: '' },
      call(`/accounts/${user}/entries?${page(cursor)}`, decodeEntries),
    ),
    placeOrder: (user, { item, price }, key) => post('/orders/', decodeOrder, key, { user_id: user, item, price }),
    /** Asks for the order to be cancelled; the answer is the order as it is by then. */
    cancelOrder: (id, key) => post(`/orders/${encodeURIComponent(id)}/cancel`, decodeOrder, key),
    orders: (user, cursor) => call(`/orders/?user_id=${user}&${page(cursor)}`, decodeOrders),
    order: (id) => call(`/orders/${encodeURIComponent(id)}`, decodeOrder),
    /** Where the user's orders tell their changes (text/event-stream); decodeEvent reads them. */
    eventsAddress: (user) => `${base}/orders/events?user_id=${user}&${page()}`,
  };
}
