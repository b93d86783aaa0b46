// The texts that a shopper reads. A code that the page does not know is shown unchanged.
import { format } from './money.js';

const STATUSES = { NEW: 'Awaiting payment', PAID: 'Paid', CANCELLING: 'Cancelling…', CANCELLED: 'Cancelled' };
const REASONS = {
  insufficient_funds: 'There was not enough money in your account.',
  account_not_found: 'You had no account to pay from.',
  cancelled_by_user: 'You cancelled this order.',
};
const STEPS = {
  placed: 'Placed',
  published: 'Queued',
  charged: 'Charged',
  refused: 'Payment declined',
  confirmed: 'Confirmed',
  cancel_requested: 'Cancel requested',
  refunded: 'Refunded',
  cancelled: 'Cancelled',
};
const KINDS = { top_up: 'Top-up', charge: 'Payment', refund: 'Refund' };
const LABELS = { item: 'Item', price: 'Price', balance: 'Amount', user_id: 'User number', user: 'User number' };

// Problems whose detail is meant for developers, in a shopper's words. Other problems are shown with their detail.
const PROBLEMS = {
  internal: 'something went wrong on our side',
  'too-many-requests': 'you have sent too many requests in a short time',
  unavailable: 'the shop is temporarily unavailable',
  'upstream-unavailable': 'part of the shop is not available right now',
  'outcome-unknown': 'we did not get a response from the shop',
  'request-in-flight': 'the shop is still working on your first request',
};

const known = (texts, code) => (Object.hasOwn(texts, code) ? texts[code] : code);

export const statusWords = (status) => known(STATUSES, status);
export const stepWords = (step) => known(STEPS, step);
export const kindWords = (kind) => known(KINDS, kind);
export const money = (amount) => `${format(amount)}\u00a0₽`;

/** Returns a field error as a sentence: fieldWords('price', 'is required') → "Price is required." */
export const fieldWords = (field, error) => sentence(`${known(LABELS, field)} ${error}`);

const problemWords = ({ kind, message }) => sentence(Object.hasOwn(PROBLEMS, kind) ? PROBLEMS[kind] : message);

/** Returns why an order was cancelled and what happened to the money; '' for an order without a reason. */
export function reasonWords({ reason, timeline = [] }) {
  if (reason !== 'cancelled_by_user') return known(REASONS, reason);
  const includes = (step) => timeline.some((entry) => entry.step === step);
  if (includes('refunded')) return `${REASONS[reason]} Your money was refunded.`;
  return includes('charged') ? REASONS[reason] : `${REASONS[reason]} You were not charged.`;
}

/** Returns the announcement for an order that was placed or has changed. */
export function orderWords(order) {
  return [sentence(`Order “${order.item}”: ${statusWords(order.status).toLowerCase()}`), reasonWords(order)].filter(Boolean).join(' ');
}

export const readFailure = (error) => `${problemWords(error)} This page may be out of date.`;

// The two possible outcomes of an intent, as clauses.
const DONE = {
  order: ({ item }) => `your order for “${item}” was placed`,
  topUp: ({ amount }) => `${money(amount)} was added to your account`,
  cancel: ({ item }) => `your request to cancel “${item}” went through`,
};
const NOT_DONE = {
  order: ({ item }) => `your order for “${item}” was not placed`,
  topUp: ({ amount }) => `${money(amount)} was not added to your account`,
  cancel: ({ item }) => `your request to cancel “${item}” did not go through`,
};
const WHERE_TO_CHECK = { order: 'your orders', topUp: 'your balance and statement', cancel: 'your orders' };

const SAFE_TO_RETRY = 'It is safe to try again: it will not happen twice.';

const unknownOutcome = ({ topic, user, values }) => `We do not know whether ${DONE[topic](values)} (user ${user}).`;

/** Returns the notice about a request that failed through no fault of the visitor and can be retried. */
export function writeFailure(intent, error, unknown) {
  const outcome = unknown ? `${unknownOutcome(intent)} ${SAFE_TO_RETRY}` : `${sentence(NOT_DONE[intent.topic](intent.values))} It is safe to try again.`;
  return { topic: intent.topic, text: `${problemWords(error)} ${outcome}`, retry: { action: 'retry', label: 'Try again' } };
}

/** Returns the notice about a request that was in flight when its page was left. */
export const interrupted = (intent) => ({
  topic: intent.topic,
  text: `The page was closed or reloaded before the shop responded, or another tab is still waiting. ${unknownOutcome(intent)} ${SAFE_TO_RETRY}`,
  retry: { action: 'retry', label: 'Try again' },
});

/** Returns the notice about an intent whose key was used for another request. */
export const keyReused = (intent) => ({
  topic: intent.topic,
  text: `The reference number of this request was already used for another request. ${unknownOutcome(intent)} Check ${WHERE_TO_CHECK[intent.topic]} before you try again.`,
  retry: { action: 'refresh', label: 'Refresh' },
});

/** Returns the notice about an intent so old that the shop may no longer keep its key. */
export const tooLate = (intent) => ({
  topic: intent.topic,
  text: `${unknownOutcome(intent)} The request was too long ago to try again safely. Check ${WHERE_TO_CHECK[intent.topic]} first.`,
  retry: { action: 'refresh', label: 'Refresh' },
});

/** Returns the notice about an order that cannot be cancelled. */
export const cancelRefusal = ({ item }, error) => ({
  topic: 'cancel',
  text: error.kind === 'not-cancellable'
    ? `Your order for “${item}” can no longer be cancelled: the shop has already cancelled it.`
    : `Your order for “${item}” was not cancelled. ${problemWords(error)}`,
});

function sentence(text) {
  return text.charAt(0).toUpperCase() + text.slice(1) + (/[.!?…]$/.test(text) ? '' : '.');
}
