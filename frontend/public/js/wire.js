// Decodes the API's JSON into the page's values: exact amounts and camelCase names.
import * as json from './json.js';
import { fromLiteral } from './money.js';

export const decodeAccount = (raw) => ({ user: Number(raw.user_id), balance: fromLiteral(raw.balance) });

export const decodeOrder = (raw) => ({
  id: String(raw.id),
  item: String(raw.item),
  price: fromLiteral(raw.price),
  status: String(raw.status),
  reason: raw.cancel_reason ?? '',
  version: Number(raw.version),
  createdAt: String(raw.created_at),
  timeline: (raw.timeline ?? []).map(({ step, at }) => ({ step: String(step), at: String(at) })),
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

export const decodeEntries = decodePage('entries', decodeEntry);
export const decodeOrders = decodePage('orders', decodeOrder);

/** Decodes an event of the stream by its name. Each decoder throws if the text is invalid. */
export const decodeEvent = {
  snapshot: (text) => decodeOrders(json.parse(text)),
  order: (text) => decodeOrder(json.parse(text)),
};
