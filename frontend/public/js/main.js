// Connects the parts: state → views, user input → use cases, state changes → effects.
import { createApi } from './api.js';
import { followOrders } from './follow.js';
import { browserStorage, createIntentStorage } from './intent-storage.js';
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
const intentStorage = createIntentStorage(browserStorage(window));
const shop = createShop(api, store, { intentStorage });
const following = followOrders(shop.readOpenOrders, document);
const stream = createStream({
  connect: (user) => new EventSource(api.eventsUrl(user)), page: document, onEvent: shop.handleEvent, onLive: shop.setLive,
});
const noticeActions = { refresh: shop.refresh, retry: shop.tryAgain };

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
    onRefresh: shop.refresh, onMore: shop.showMoreOrders, onAskToConfirm: shop.askToConfirmCancel, onCancel: shop.cancelOrder,
  }),
  createNoticesView({ onAction: (action, id) => noticeActions[action](id), onDismiss: shop.dismiss }),
];

store.subscribe((state, previous) => {
  intentStorage.update(state.intents, previous.intents); // first, so that an intent is saved before it is sent
  for (const view of views) view.update(state);
  if (state.announcement !== previous.announcement) setText(byId('announcement'), state.announcement.text);
  following.update(state.orders.items.filter(isOpen).map((order) => order.id), state.live);
  if (state.settled !== previous.settled) shop.readMoney();
});

window.addEventListener('popstate', () => choose(currentUser()));
window.addEventListener('online', shop.refresh);
window.addEventListener('storage', (event) => {
  const key = intentStorage.removedKey(event);
  if (key !== null) shop.settledElsewhere(key);
});
window.addEventListener('beforeunload', (event) => {
  if (intentStorage.hasUnsaved()) event.preventDefault();
});
// A key that is held down acts once. Its repeats would press whichever element has the focus by then.
document.addEventListener('keydown', (event) => {
  if (event.repeat && event.key === 'Enter') event.preventDefault();
}, { capture: true });

shop.restore();
choose(currentUser());
poll(shop.readMoney, document, window);
