// Exact money. An amount is a BigInt of minor units (1999n is 19.99), and no
// float is on any way in or out: a double cannot hold every amount the shop takes.

/** The largest amount of the shop: fifteen digits, in minor units. */
export const MAX = 999_999_999_999_999n;

// Digits, plain or grouped by spaces as format() writes them; a comma is read as
// the decimal sign, so "1,000" has three decimals and is refused, never misread.
const TYPED = /^(\d+|\d{1,3}(?:[ \u00a0\u202f]\d{3})+)(?:[.,](\d+))?$/;
const LITERAL = /^(-?)(\d+)(?:\.(\d{1,2}))?$/;

function minorUnits(whole, decimals = '') {
  return BigInt(whole + decimals.padEnd(2, '0'));
}

/**
 * Reads what a person typed: {amount} or {error}, words that follow a field's name.
 * @param {string} text
 * @param {bigint} least the smallest amount that is acceptable
 */
export function parse(text, least = 0n) {
  const typed = text.trim();
  if (typed === '') return { error: 'is required' };
  const match = TYPED.exec(typed);
  if (!match) return { error: 'must be a plain number, such as 1000 or 19.99' };
  const [, whole, decimals = ''] = match;
  if (decimals.length > 2) return { error: 'must have at most two decimals' };
  const amount = minorUnits(whole.replace(/\D/g, ''), decimals);
  if (amount > MAX) return { error: `must be at most ${format(MAX)}` };
  if (amount < least) return { error: `must be at least ${format(least)}` };
  return { amount };
}

/** Reads a JSON number's literal text, as the API writes amounts. */
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

/** Writes the amount as a JSON number's literal text: 1000, 19.9, 19.99. */
export function toLiteral(amount) {
  const { sign, whole, decimals } = split(amount);
  const rest = decimals.replace(/0+$/, '');
  return (sign ? '-' : '') + whole + (rest && `.${rest}`);
}

/** Writes the amount for people: 1 234 567.80, grouped by no-break spaces. */
export function format(amount) {
  const { sign, whole, decimals } = split(amount);
  return `${sign ? '−' : ''}${whole.replace(/\B(?=(\d{3})+$)/g, '\u00a0')}.${decimals}`;
}
