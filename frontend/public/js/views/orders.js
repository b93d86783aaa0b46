import { elapsed } from '../elapsed.js';
import { isBusy } from '../intents.js';
import { isCancellable } from '../state.js';
import { money, reasonWords, statusWords, stepWords } from '../words.js';
import { byId, setAttribute, setRows, setText, setTime } from './dom.js';

function updateStep(row, { step, at, since }) {
  row.dataset.step = step;
  setText(row.querySelector('.step-name'), stepWords(step));
  setTime(row.querySelector('time'), at, since ?? undefined);
}

// Steps show the time since the first step. The first step shows none: the order's own time is in its row.
function updateTimeline(list, { timeline }) {
  const steps = timeline.map(({ step, at }, i) => ({ step, at, since: i === 0 ? '' : elapsed(timeline[0].at, at) }));
  setRows(list, byId('step-row'), steps, ({ step, at }) => `${step} ${at}`, updateStep);
  list.hidden = steps.length === 0;
}

// If the element with the focus disappears, the focus moves to its replacement, so that keyboard users keep their place.
function updateCancel(row, order, state) {
  const cancel = row.querySelector('.order-cancel');
  const confirm = row.querySelector('.order-confirm');
  const confirming = state.confirming === order.id;
  const busy = isBusy(state, 'cancel', order.id);
  const focused = row.contains(document.activeElement);
  cancel.hidden = confirming || !isCancellable(order);
  setText(cancel, busy ? 'Cancelling…' : 'Cancel order');
  setAttribute(cancel, 'aria-label', `${cancel.textContent}: ${order.item}`);
  setAttribute(cancel, 'aria-disabled', String(busy));
  const opens = confirming && confirm.hidden;
  const closes = !confirming && !confirm.hidden;
  confirm.hidden = !confirming;
  if (opens) confirm.querySelector('.order-keep').focus();
  if (closes && focused && !cancel.hidden) cancel.focus();
}

const updateOrder = (state) => (row, order) => {
  row.dataset.orderId = order.id;
  row.dataset.status = order.status;
  row.dataset.reason = order.reason;
  setText(row.querySelector('.order-item'), order.item);
  setText(row.querySelector('.order-price'), money(order.price));
  setTime(row.querySelector('.order-meta time'), order.createdAt);
  setText(row.querySelector('.order-id'), order.id);
  setText(row.querySelector('.badge'), statusWords(order.status));
  const reason = row.querySelector('.order-reason');
  setText(reason, reasonWords(order));
  reason.hidden = order.reason === '';
  updateTimeline(row.querySelector('.timeline'), order);
  updateCancel(row, order, state);
};

/**
 * Creates the view of the list of orders, newest first.
 * Callbacks: onRefresh(), onMore(), onAskToConfirm(id) asks to confirm a cancellation ('' withdraws the question), onCancel(order).
 */
export function createOrdersView({ onRefresh, onMore, onAskToConfirm, onCancel }) {
  const list = byId('orders');
  const live = byId('live');
  let shown = [];

  const orderOf = (target) => shown.find(({ id }) => id === target.closest('.order')?.dataset.orderId);

  list.addEventListener('click', ({ target, detail }) => {
    const order = orderOf(target);
    if (!order) return;
    if (target.matches('.order-cancel:not([aria-disabled="true"])')) onAskToConfirm(order.id);
    if (target.matches('.order-keep')) onAskToConfirm('');
    // The second click of a double click on "Cancel order" must not confirm the cancellation.
    if (target.matches('.order-confirmed') && detail < 2) {
      onAskToConfirm('');
      onCancel(order);
    }
  });
  list.addEventListener('keydown', ({ key, target }) => {
    if (key === 'Escape' && target.closest('.order-confirm')) onAskToConfirm('');
  });
  byId('refresh').addEventListener('click', onRefresh);
  byId('orders-more').addEventListener('click', onMore);

  return {
    update(state) {
      const { items, nextCursor, loaded } = state.orders;
      shown = items;
      setRows(list, byId('order-row'), items, (order) => order.id, updateOrder(state));
      live.dataset.live = state.live;
      setText(live, state.live ? 'Live' : 'Connecting…');
      byId('orders-empty').hidden = !loaded || items.length > 0;
      byId('orders-more').hidden = nextCursor === '';
    },
  };
}
