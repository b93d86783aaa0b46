import { money, reasonWords, statusWords } from '../words.js';
import { byId, setRows, setText, setTime } from './dom.js';

function updateOrder(row, order) {
  row.dataset.orderId = order.id;
  row.dataset.status = order.status;
  setText(row.querySelector('.order-item'), order.item);
  setText(row.querySelector('.order-price'), money(order.price));
  setTime(row.querySelector('time'), order.createdAt);
  setText(row.querySelector('.order-id'), order.id);
  setText(row.querySelector('.badge'), statusWords(order.status));
  const reason = row.querySelector('.order-reason');
  setText(reason, reasonWords(order.reason));
  reason.hidden = order.reason === '';
}

/** The list of orders, newest first. onRefresh(), onMore() */
export function createOrdersView({ onRefresh, onMore }) {
  byId('refresh').addEventListener('click', onRefresh);
  byId('orders-more').addEventListener('click', onMore);

  return {
    update({ orders: { items, nextCursor, loaded } }) {
      setRows(byId('orders'), byId('order-row'), items, (order) => order.id, updateOrder);
      byId('orders-empty').hidden = !loaded || items.length > 0;
      byId('orders-more').hidden = nextCursor === '';
    },
  };
}
