// Ties the parts: state → views, what the visitor does → use cases, what changed → effects.
import { createApi } from './api.js';
import { followOrders } from './follow.js';
import { createKept, storageOf } from './kept.js';
import { poll } from './poll.js';
import { createShop } from './shop.js';
import { initialState, isOpen, reduce } from './state.js';
import { createStore } from './store.js';
import { createStream } from './stream.js';
import { currentUser, rememberUser } from './user.js';
import { createAccountView } from './views/account.js';
import { byId, setText } from './views/dom.js';
import { createNoticesView } from './views/notices.js';
import { createOrderView } from './views/order.js';
import { createOrdersView } from './views/orders.js';
import { createUserView } from './views/user.js';

const api = createApi();
const store = createStore(reduce, initialState);
const kept = createKept(storageOf(window));
const shop = createShop(api, store, { kept });
const following = followOrders(shop.readOpenOrders, document);
const stream = createStream({
  connect: (user) => new EventSource(api.eventsAddress(user)), page: document, onEvent: shop.hear, onLive: shop.live,
});
const retries = { refresh: shop.refresh, again: shop.tryAgain };

function choose(user) {
  if (user !== null) rememberUser(user);
  shop.chooseUser(user);
  stream.follow(user);
}

const views = [
  createOrderView({ onPlace: shop.placeOrder }),
  createUserView({
    onChoose: choose,
    onRefuse: (error) => store.dispatch({ type: 'user/refused', error }),
  }),
  createAccountView({ onTopUp: shop.topUp, onStatement: shop.toggleStatement, onMore: shop.showMoreEntries }),
  createOrdersView({
    onRefresh: shop.refresh, onMore: shop.showMoreOrders, onAsk: shop.askToCancel, onCancel: shop.cancelOrder,
  }),
  createNoticesView({ onRetry: (what, id) => retries[what](id), onDismiss: shop.dismiss }),
];

store.subscribe((state, before) => {
  kept.update(state.intents, before.intents); // first: what is sent must be known before it is
  for (const view of views) view.update(state);
  if (state.said !== before.said) setText(byId('said'), state.said.text);
  following.update(state.orders.items.filter(isOpen).map((order) => order.id), state.live);
  if (state.settled !== before.settled) shop.readMoney();
});

window.addEventListener('popstate', () => choose(currentUser()));
window.addEventListener('online', shop.refresh);
window.addEventListener('storage', (event) => {
  const key = kept.removedBy(event);
  if (key !== null) shop.settledElsewhere(key);
});
window.addEventListener('beforeunload', (event) => {
  if (kept.isMissingAny()) event.preventDefault();
});
// A key that is held down acts once. Its repeats would press whatever has the focus by then.
document.addEventListener('keydown', (event) => {
  if (event.repeat && event.key === 'Enter') event.preventDefault();
}, { capture: true });

shop.restore();
choose(currentUser());
poll(shop.readMoney, document, window);
