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

// Each step by how long after the first it was; the first needs no words, as the row has its time.
function updateTimeline(list, { timeline }) {
  const steps = timeline.map(({ step, at }, i) => ({ step, at, since: i === 0 ? '' : elapsed(timeline[0].at, at) }));
  setRows(list, byId('step-row'), steps, ({ step, at }) => `${step} ${at}`, updateStep);
  list.hidden = steps.length === 0;
}

// What has the focus may be about to go; whoever uses the keyboard is left at what takes its place.
function updateCancel(row, order, state) {
  const cancel = row.querySelector('.order-cancel');
  const confirm = row.querySelector('.order-confirm');
  const asking = state.asking === order.id;
  const busy = isBusy(state, 'cancel', order.id);
  const focused = row.contains(document.activeElement);
  cancel.hidden = asking || !isCancellable(order);
  setText(cancel, busy ? 'Cancelling…' : 'Cancel order');
  setAttribute(cancel, 'aria-label', `${cancel.textContent}: ${order.item}`);
  setAttribute(cancel, 'aria-disabled', String(busy));
  const opens = asking && confirm.hidden;
  const closes = !asking && !confirm.hidden;
  confirm.hidden = !asking;
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

/** The list of orders, newest first. onRefresh(), onMore(), onAsk(id) whether to cancel or '' to keep, onCancel(order) */
export function createOrdersView({ onRefresh, onMore, onAsk, onCancel }) {
  const list = byId('orders');
  const live = byId('live');
  let shown = [];

  const orderOf = (target) => shown.find(({ id }) => id === target.closest('.order')?.dataset.orderId);

  list.addEventListener('click', ({ target, detail }) => {
    const order = orderOf(target);
    if (!order) return;
    if (target.matches('.order-cancel:not([aria-disabled="true"])')) onAsk(order.id);
    if (target.matches('.order-keep')) onAsk('');
    // A double click on what asks must never be the answer too.
    if (target.matches('.order-confirmed') && detail < 2) {
      onAsk('');
      onCancel(order);
    }
  });
  list.addEventListener('keydown', ({ key, target }) => {
    if (key === 'Escape' && target.closest('.order-confirm')) onAsk('');
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
