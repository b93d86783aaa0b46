import { goods } from '../goods.js';
import { isBusy } from '../intents.js';
import { parse } from '../money.js';
import { fieldWords, money } from '../words.js';
import { otherErrors } from './account.js';
import { byId, onSubmit, resetWhenDone, setError, setRows, setText } from './dom.js';

/** Creates the view of the order form. The suggested goods only fill in the form. Callback: onPlace({item, price}). */
export function createOrderView({ onPlace }) {
  const form = byId('order-form');
  const item = byId('item');
  const price = byId('price');
  const submit = byId('order-submit');

  const resetIfDone = resetWhenDone(form, (typed) => typed.item === item.value && typed.price === price.value);
  onSubmit(form, () => onPlace({ item: item.value, price: price.value }));

  setRows(byId('goods'), byId('good-row'), goods, (good) => good.item, (row, good) => {
    setText(row.querySelector('.good-item'), good.item);
    setText(row.querySelector('.good-price'), money(parse(good.price).amount));
    row.querySelector('button').addEventListener('click', () => {
      if (item.readOnly) return;
      item.value = good.item;
      price.value = good.price;
      // The focus is not moved: the next press of the same key must not place the order.
      submit.scrollIntoView({ block: 'nearest' });
    });
  });

  return {
    update(state) {
      const { errors, done } = state.order;
      const busy = isBusy(state, 'order');
      resetIfDone(done);
      submit.disabled = busy;
      item.readOnly = busy;
      price.readOnly = busy;
      const { item: itemError, price: priceError, ...others } = errors;
      setError(byId('item-error'), itemError && fieldWords('item', itemError), item);
      setError(byId('price-error'), priceError && fieldWords('price', priceError), price);
      setError(byId('order-form-error'), otherErrors(others));
    },
  };
}
