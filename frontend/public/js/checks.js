// Form validation, by the same rules as the shop's. Each check returns {values} or {errors}, by field.
import { parse } from './money.js';

const MIN_AMOUNT = 1n;
const MAX_ITEM_LENGTH = 200;

function checkItem(text) {
  const item = text.trim();
  const length = [...item].length;
  if (length === 0) return { error: 'is required' };
  if (length > MAX_ITEM_LENGTH) return { error: `must have at most ${MAX_ITEM_LENGTH} characters` };
  if (/\p{Cc}/u.test(item)) return { error: 'must not contain control characters' };
  return { item };
}

export function checkOrder(typed) {
  const { item, error: itemError } = checkItem(typed.item);
  const { amount: price, error: priceError } = parse(typed.price, MIN_AMOUNT);
  if (!itemError && !priceError) return { values: { item, price } };
  return { errors: { ...(itemError && { item: itemError }), ...(priceError && { price: priceError }) } };
}

/** Checks the amount of a top-up. Zero is valid only when it opens the account. */
export function checkTopUp(text, opensAccount) {
  const { amount, error } = parse(text, opensAccount ? 0n : MIN_AMOUNT);
  return error ? { errors: { balance: error } } : { values: { amount } };
}
