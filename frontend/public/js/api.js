// Client for the shop's HTTP API. Values are exact in both directions, and one error type
// describes what is known about a failed call.
import * as json from './json.js';
import { decodeAccount, decodeEntries, decodeOrder, decodeOrders } from './wire.js';

const TIMEOUT = 20_000;
const PAGE_SIZE = 20;
const IN_FLIGHT = 'request-in-flight'; // the first request with the same key has no outcome yet

/**
 * A failed call.
 * - status: the HTTP status, 0 without a usable response
 * - kind: the name of the problem type, such as 'not-cancellable', or ''
 * - fields: error texts by field name; errors without a field are in message
 * - done: 'no' if the shop refused and nothing happened, 'unknown' if the request may have been processed
 * - transient: whether the same call may succeed later
 * - retryAfter: how long the shop asks to wait before that, in milliseconds
 */
export class ApiError extends Error {
  constructor({ status = 0, kind = '', message, fields = {}, requestId = '', retryAfter = 0, cause }) {
    super(message, { cause });
    this.name = 'ApiError';
    this.status = status;
    this.kind = kind;
    this.fields = fields;
    this.requestId = requestId;
    this.retryAfter = retryAfter;
    const refused = (status >= 400 && status < 500) || status === 503;
    this.done = refused && kind !== IN_FLIGHT ? 'no' : 'unknown';
    this.transient = this.done === 'unknown' || status === 429 || status === 503;
  }
}

// Returns the top-level member of the body that a JSON Pointer leads to.
function fieldOf(pointer) {
  const [, name = ''] = pointer.split('/');
  return name.replaceAll('~1', '/').replaceAll('~0', '~');
}

/** Converts a response that is not 2xx, with a problem document (RFC 9457) or any other body, such as a proxy's. */
export function problemError(response, body) {
  const { status } = response;
  let problem = {};
  if (/^application\/(problem\+)?json\b/i.test(response.headers.get('Content-Type') ?? '')) {
    try {
      problem = json.parse(body) ?? {};
    } catch {
      // The document is truncated; only the status is known.
    }
  }
  const fields = {};
  const others = [];
  for (const { pointer, parameter, detail = 'is not valid' } of Array.isArray(problem.errors) ? problem.errors : []) {
    const name = typeof pointer === 'string' ? fieldOf(pointer) : '';
    if (name) fields[name] ??= detail;
    else others.push(parameter ? `${parameter} ${detail}` : detail);
  }
  return new ApiError({
    status,
    kind: /\/problems\/([^/]+)\/?$/.exec(problem.type)?.[1],
    message: others.join('; ') || problem.detail || problem.title || `the shop returned error ${status}`,
    fields,
    requestId: problem.request_id || response.headers.get('X-Request-Id') || '',
    retryAfter: (Number(response.headers.get('Retry-After')) || 0) * 1_000, // the shop sends seconds, never a date
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
      const timedOut = cause.name === 'TimeoutError';
      throw new ApiError({ message: timedOut ? 'the shop did not respond in time' : 'we could not reach the shop', cause });
    }
    if (!response.ok) throw problemError(response, text);
    try {
      return decode(json.parse(text));
    } catch (cause) {
      throw new ApiError({ message: 'we could not read the response from the shop', cause });
    }
  }

  // The key identifies the intent. The shop processes it once, however often the request arrives.
  const post = (path, decode, key, fields) => call(path, decode, {
    method: 'POST',
    headers: { 'Idempotency-Key': `"${key}"`, ...(fields && { 'Content-Type': 'application/json' }) },
    body: fields && json.stringify(fields),
  });

  const page = (cursor) => `limit=${PAGE_SIZE}${cursor ? `&cursor=${encodeURIComponent(cursor)}` : ''}`;

  async function orIfNotFound(fallback, response) {
    try {
      return await response;
    } catch (error) {
      if (error.status === 404) return fallback;
      throw error;
    }
  }

  return {
    /** Reads the user's account; null if there is none. */
    account: (user) => orIfNotFound(null, call(`/accounts/${user}`, decodeAccount)),
    /** Opens the account with the amount, or adds the amount to its balance. */
    topUp: (user, amount, key) => post('/accounts/', decodeAccount, key, { user_id: user, balance: amount }),
    /** Reads a page of the user's statement; an empty page if there is no account. */
    entries: (user, cursor) => orIfNotFound(
      { items: [], nextCursor: '' },
      call(`/accounts/${user}/entries?${page(cursor)}`, decodeEntries),
    ),
    placeOrder: (user, { item, price }, key) => post('/orders/', decodeOrder, key, { user_id: user, item, price }),
    /** Requests cancellation of the order; resolves to its current state. */
    cancelOrder: (id, key) => post(`/orders/${encodeURIComponent(id)}/cancel`, decodeOrder, key),
    orders: (user, cursor) => call(`/orders/?user_id=${user}&${page(cursor)}`, decodeOrders),
    order: (id) => call(`/orders/${encodeURIComponent(id)}`, decodeOrder),
    /** Returns the URL of the event stream of the user's orders (text/event-stream); decodeEvent decodes its events. */
    eventsUrl: (user) => `${base}/orders/events?user_id=${user}&${page()}`,
  };
}
