// What the shop says in human words. Codes that the page does not know are shown as they are.
import { format } from './money.js';

const STATUSES = { NEW: 'Awaiting payment', PAID: 'Paid', CANCELLED: 'Cancelled' };
const REASONS = {
  insufficient_funds: 'There was not enough money on the account.',
  account_not_found: 'There was no account to pay from.',
};
const KINDS = { top_up: 'Top-up', charge: 'Payment', refund: 'Refund' };
const LABELS = { item: 'Item', price: 'Price', balance: 'Amount', user_id: 'User', user: 'User' };

const known = (words, code) => (Object.hasOwn(words, code) ? words[code] : code);

export const statusWords = (status) => known(STATUSES, status);
export const reasonWords = (reason) => known(REASONS, reason);
export const kindWords = (kind) => known(KINDS, kind);
export const money = (amount) => `${format(amount)}\u00a0₽`;

/** What is wrong with a field, as a sentence: fieldWords('price', 'is required') → "Price is required." */
export const fieldWords = (field, complaint) => sentence(`${known(LABELS, field)} ${complaint}`);

/** What is said about an order that has just changed, or been placed. */
export function orderWords({ item, status, reason }) {
  return [`Order “${item}”: ${statusWords(status).toLowerCase()}.`, reasonWords(reason)].filter(Boolean).join(' ');
}

export const readFailure = (error) => `${sentence(error.message)} What you see may be out of date.`;

const WHAT = {
  order: ({ item }) => `the order for “${item}” was placed`,
  topUp: ({ amount }) => `${money(amount)} was added to the account`,
};

/**
 * The notice about an order or a top-up that failed for no fault of the visitor's.
 * @param {'order' | 'topUp'} topic
 */
export function writeFailure(topic, error, user, details) {
  if (error.done === 'no') {
    return {
      text: `${sentence(error.message)} Nothing was done; it is safe to try again.`,
      retry: { what: topic, label: 'Try again' },
    };
  }
  const look = topic === 'order' ? 'the list of orders' : 'the balance and the statement';
  return {
    text: `It is not known whether ${WHAT[topic](details)} (user ${user}): ${error.message}. Look at ${look} before you try again.`,
    retry: { what: 'refresh', label: 'Look again' },
  };
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?]$/.test(text) ? '' : '.');
}
