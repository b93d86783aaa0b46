import { initialState, reduce } from '../public/js/state.js';

// What the tests of the state build it from.
export const order = (id, status = 'NEW', version = status === 'NEW' ? 1 : 2, reason = '') => ({ id, item: `Item ${id}`, price: 100n, status, version, reason, timeline: [] });
export const loaded = (items, nextCursor = '') => ({ type: 'orders/loaded', about: 1, page: { items, nextCursor } });
export const run = (actions, state = initialState) => actions.reduce(reduce, state);
export const money = (balance) => ({ type: 'money/loaded', about: 1, account: { balance }, at: 9 });
export const chosen = { type: 'user/chosen', user: 1 };
export const ids = (state) => state.orders.items.map(({ id }) => id).join('');
