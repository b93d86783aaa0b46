// A shop whose writes are answered as a test demands.
import { createApi } from '../public/js/api.js';
import { createShop } from '../public/js/shop.js';
import { initialState, reduce, shownNotices } from '../public/js/state.js';
import { createStore } from '../public/js/store.js';
import { order, startServer } from './server.js';

const reads = ({ url }) => {
  if (url.startsWith('/orders/')) return { orders: [order('a')] };
  return url.includes('entries') ? { entries: [] } : { user_id: 1, balance: 5 };
};

// Uses one answer per POST, in order. The last one is repeated.
export const inTurn = (...answers) => (...args) => (answers.length > 1 ? answers.shift() : answers[0])(...args);
export const status = (code, body = {}) => (request, response) => ((response.statusCode = code), { detail: `a ${code}`, ...body });
export const cut = (request) => void request.socket.destroy();
export const placed = () => order('b');
export const inFlight = status(409, { type: '/problems/request-in-flight' });

// Opens a shop for user 1. Without retryDelays it does not retry by itself. Its reads succeed.
export async function openShop(t, write, { retryDelays = [], now } = {}) {
  const server = await startServer(t, (request, response, body) => (request.method === 'POST' ? write : reads)(request, response, body));
  const store = createStore(reduce, initialState);
  const shop = createShop(createApi({ base: server.base, timeout: 1_000 }), store, { retryDelays, now });
  await shop.chooseUser(1);
  const posts = () => server.requests.filter(({ method }) => method === 'POST')
    .map(({ url, body, headers }) => ({ url, body, key: headers['idempotency-key'] }));
  return { shop, store, posts, requests: server.requests };
}

export const tea = { item: 'Tea', price: '1' };
export const notice = (store) => shownNotices(store.state)[0];
