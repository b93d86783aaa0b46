// Exact money. An amount is a BigInt in minor units (1999n is 19.99) and is never converted
// to or from a float: a double cannot represent every amount that the shop accepts.

/** The largest amount that the shop accepts: fifteen digits, in minor units. */
export const MAX = 999_999_999_999_999n;

// Digits, plain or grouped by spaces as format() writes them. A comma is a decimal
// separator, so "1,000" has three decimals and is rejected, not misread.
const TYPED = /^(\d+|\d{1,3}(?:[ \u00a0\u202f]\d{3})+)(?:[.,](\d+))?$/;
const LITERAL = /^(-?)(\d+)(?:\.(\d{1,2}))?$/;

function minorUnits(whole, decimals = '') {
  return BigInt(whole + decimals.padEnd(2, '0'));
}

/**
 * Parses an amount that a person typed. Returns {amount}, or {error}, a phrase that follows a field name.
 * @param {string} text
 * @param {bigint} min the smallest valid amount
 */
export function parse(text, min = 0n) {
  const typed = text.trim();
  if (typed === '') return { error: 'is required' };
  const match = TYPED.exec(typed);
  if (!match) return { error: 'must be a plain number, such as 1000 or 19.99' };
  const [, whole, decimals = ''] = match;
  if (decimals.length > 2) return { error: 'must have at most two decimal places' };
  const amount = minorUnits(whole.replace(/\D/g, ''), decimals);
  if (amount > MAX) return { error: `must be at most ${format(MAX)}` };
  if (amount < min) return { error: `must be at least ${format(min)}` };
  return { amount };
}

/** Parses the literal of a JSON number, as the API writes amounts. Throws RangeError. */
export function fromLiteral(text) {
  const match = LITERAL.exec(text);
  if (!match) throw new RangeError(`not an amount: ${text}`);
  const amount = minorUnits(match[2], match[3]);
  return match[1] ? -amount : amount;
}

function split(amount) {
  const minor = (amount < 0n ? -amount : amount).toString().padStart(3, '0');
  return { sign: amount < 0n, whole: minor.slice(0, -2), decimals: minor.slice(-2) };
}

/** Formats the amount as the literal of a JSON number: 1000, 19.9, 19.99. */
export function toLiteral(amount) {
  const { sign, whole, decimals } = split(amount);
  const rest = decimals.replace(/0+$/, '');
  return (sign ? '-' : '') + whole + (rest && `.${rest}`);
}

/** Formats the amount for display: 1 234 567.80, grouped by no-break spaces. */
export function format(amount) {
  const { sign, whole, decimals } = split(amount);
  return `${sign ? '−' : ''}${whole.replace(/\B(?=(\d{3})+$)/g, '\u00a0')}.${decimals}`;
}
