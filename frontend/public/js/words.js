// What the shop says in human words. Codes that the page does not know are shown as they are.
import { format } from './money.js';

const STATUSES = { NEW: 'Awaiting payment', PAID: 'Paid', CANCELLING: 'Cancelling…', CANCELLED: 'Cancelled' };
const REASONS = {
  insufficient_funds: 'There was not enough money on the account.',
  account_not_found: 'There was no account to pay from.',
  cancelled_by_user: 'You cancelled it.',
};
const STEPS = {
  placed: 'Placed',
  published: 'Queued',
  charged: 'Charged',
  refused: 'Refused',
  confirmed: 'Confirmed',
  cancel_requested: 'Cancel asked',
  refunded: 'Refunded',
  cancelled: 'Cancelled',
};
const KINDS = { top_up: 'Top-up', charge: 'Payment', refund: 'Refund' };
const LABELS = { item: 'Item', price: 'Price', balance: 'Amount', user_id: 'User', user: 'User' };

const known = (words, code) => (Object.hasOwn(words, code) ? words[code] : code);

export const statusWords = (status) => known(STATUSES, status);
export const stepWords = (step) => known(STEPS, step);
export const kindWords = (kind) => known(KINDS, kind);
export const money = (amount) => `${format(amount)}\u00a0₽`;

/** What is wrong with a field, as a sentence: fieldWords('price', 'is required') → "Price is required." */
export const fieldWords = (field, complaint) => sentence(`${known(LABELS, field)} ${complaint}`);

/** Why an order was cancelled, and what became of the money; '' for one that was not. */
export function reasonWords({ reason, timeline = [] }) {
  if (reason !== 'cancelled_by_user') return known(REASONS, reason);
  const went = (step) => timeline.some((entry) => entry.step === step);
  if (went('refunded')) return `${REASONS[reason]} The money was given back.`;
  return went('charged') ? REASONS[reason] : `${REASONS[reason]} Nothing was charged.`;
}

/** What is said about an order that has just changed, or been placed. */
export function orderWords(order) {
  return [sentence(`Order “${order.item}”: ${statusWords(order.status).toLowerCase()}`), reasonWords(order)].filter(Boolean).join(' ');
}

export const readFailure = (error) => `${sentence(error.message)} What you see may be out of date.`;

const WHAT = {
  order: ({ item }) => `the order for “${item}” was placed`,
  topUp: ({ amount }) => `${money(amount)} was added to the account`,
  cancel: ({ item }) => `the order for “${item}” is being cancelled`,
};
const LOOK = { order: 'the list of orders', topUp: 'the balance and the statement', cancel: 'the list of orders' };

const unknownWords = ({ topic, user, values }, why) => `It is not known whether ${WHAT[topic](values)} (user ${user})${why}.`;

/** The notice about something that failed for no fault of the visitor's and may be sent again. */
export function writeFailure(intent, error, unknown) {
  const text = unknown
    ? `${unknownWords(intent, `: ${error.message}`)} It is safe to try again: it will not be done twice.`
    : `${sentence(error.message)} Nothing was done; it is safe to try again.`;
  return { topic: intent.topic, text, retry: { what: 'again', label: 'Try again' } };
}

/** The notice about something that was under way when the page was left. */
export const cutOff = (intent) => ({
  topic: intent.topic,
  text: `${unknownWords(intent, ': the page was left before the answer, or another tab still waits for it')} It is safe to try again: it will not be done twice.`,
  retry: { what: 'again', label: 'Try again' },
});

/** The notice about something whose key the shop knows for another request. */
export const keyReused = (intent) => ({
  topic: intent.topic,
  text: `${unknownWords(intent, ': the shop knows its key for another request')} Look at ${LOOK[intent.topic]} before you ask for it again.`,
  retry: { what: 'refresh', label: 'Look again' },
});

/** The notice about something so old that the shop may no longer know its key. */
export const tooLate = (intent) => ({
  topic: intent.topic,
  text: `${unknownWords(intent, '')} It is too long ago to try again safely: look at ${LOOK[intent.topic]} first.`,
  retry: { what: 'refresh', label: 'Look again' },
});

/** The notice about an order that cannot be cancelled. */
export const cancelRefusal = ({ item }, error) => ({
  topic: 'cancel',
  text: error.kind === 'not-cancellable'
    ? `The order for “${item}” cannot be cancelled any more: it has ended for another reason.`
    : `The order for “${item}” was not cancelled: ${ended(error.message)}`,
});

function ended(text) {
  return /[.!?…]$/.test(text) ? text : `${text}.`;
}

function sentence(text) {
  return text.charAt(0).toUpperCase() + ended(text.slice(1));
}
