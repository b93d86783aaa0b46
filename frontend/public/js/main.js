// Ties the parts: state → views, what the visitor does → use cases, what changed → effects.
import { createApi } from './api.js';
import { followOrders } from './follow.js';
import { createShop } from './shop.js';
import { initialState, isOpen, reduce } from './state.js';
import { createStore } from './store.js';
import { currentUser, rememberUser } from './user.js';
import { createAccountView } from './views/account.js';
import { byId, setText } from './views/dom.js';
import { createNoticesView } from './views/notices.js';
import { createOrderView } from './views/order.js';
import { createOrdersView } from './views/orders.js';
import { createUserView } from './views/user.js';

const store = createStore(reduce, initialState);
const shop = createShop(createApi(), store);
const following = followOrders(shop.readOpenOrders, document);

const orderForm = createOrderView({ onPlace: shop.placeOrder });
const retries = {
  refresh: shop.refresh,
  order: orderForm.submit,
  topUp: () => byId('topup-form').requestSubmit(),
};

function choose(user) {
  if (user !== null) rememberUser(user);
  shop.chooseUser(user);
}

const views = [
  orderForm,
  createUserView({
    onChoose: choose,
    onRefuse: (error) => store.dispatch({ type: 'user/refused', error }),
  }),
  createAccountView({ onTopUp: shop.topUp, onStatement: shop.toggleStatement, onMore: shop.showMoreEntries }),
  createOrdersView({ onRefresh: shop.refresh, onMore: shop.showMoreOrders }),
  createNoticesView({ onRetry: (what) => retries[what](), onDismiss: shop.dismiss }),
];

store.subscribe((state, before) => {
  for (const view of views) view.update(state);
  if (state.said !== before.said) setText(byId('said'), state.said.text);
  following.update(state.orders.items.filter(isOpen).map((order) => order.id));
  if (state.settled !== before.settled) shop.readMoney();
});

window.addEventListener('popstate', () => choose(currentUser()));
window.addEventListener('online', shop.refresh);
choose(currentUser());
