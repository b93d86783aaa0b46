// What was typed, checked as the shop checks it: {values} or {errors} by field.
import { parse } from './money.js';

const LEAST = 1n;
const LONGEST_ITEM = 200;

function checkItem(text) {
  const item = text.trim();
  const length = [...item].length;
  if (length === 0) return { error: 'is required' };
  if (length > LONGEST_ITEM) return { error: `must have at most ${LONGEST_ITEM} characters` };
  if (/\p{Cc}/u.test(item)) return { error: 'must not contain control characters' };
  return { item };
}

export function checkOrder(typed) {
  const { item, error: itemError } = checkItem(typed.item);
  const { amount: price, error: priceError } = parse(typed.price, LEAST);
  if (!itemError && !priceError) return { values: { item, price } };
  return { errors: { ...(itemError && { item: itemError }), ...(priceError && { price: priceError }) } };
}

/** An account may be opened with nothing; nothing is no top-up. */
export function checkTopUp(text, opens) {
  const { amount, error } = parse(text, opens ? 0n : LEAST);
  return error ? { errors: { balance: error } } : { values: { amount } };
}
