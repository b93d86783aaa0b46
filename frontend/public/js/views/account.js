import { isBusy } from '../intents.js';
import { toLiteral } from '../money.js';
import { fieldWords, kindWords, money } from '../words.js';
import { byId, clockTime, onSubmit, resetWhenDone, setError, setRows, setText, setTime } from './dom.js';

const SIGNS = { top_up: '+', refund: '+', charge: '−' };
const BALANCES = { unknown: () => '…', none: () => 'No account yet', open: ({ balance }) => money(balance) };

function updateEntry(row, entry) {
  setTime(row.querySelector('time'), entry.createdAt);
  setText(row.querySelector('.entry-kind'), kindWords(entry.kind));
  setText(row.querySelector('.entry-amount'), (SIGNS[entry.kind] ?? '') + money(entry.amount));
  setText(row.querySelector('.entry-balance'), money(entry.balanceAfter));
  row.dataset.kind = entry.kind;
  row.title = entry.orderId && `Order ${entry.orderId}`;
}

/** Creates the view of balance, top-up form and statement. Callbacks: onTopUp(text), onStatement(shown), onMore(). */
export function createAccountView({ onTopUp, onStatement, onMore }) {
  const input = byId('topup-amount');
  const submit = byId('topup-submit');
  const balance = byId('balance');
  const balanceAt = byId('balance-at');
  const details = byId('statement');

  const form = byId('topup-form');
  const resetIfDone = resetWhenDone(form, (typed) => typed === input.value);

  onSubmit(form, () => onTopUp(input.value));
  details.addEventListener('toggle', () => onStatement(details.open));
  byId('entries-more').addEventListener('click', onMore);

  return {
    update(state) {
      const { account, failing, topUp, statement } = state;
      const busy = isBusy(state, 'topUp');
      resetIfDone(topUp.done);
      setText(balance, BALANCES[account.status](account));
      balance.dataset.account = account.status;
      balance.dataset.amount = account.status === 'open' ? toLiteral(account.balance) : '';

      const confirmed = !failing.money;
      setText(balanceAt, `${confirmed ? 'Updated at' : 'Not updated since'} ${clockTime(account.at)}`);
      balanceAt.dataset.confirmed = confirmed;
      balanceAt.hidden = account.status === 'unknown';

      setText(submit, account.status === 'none' ? 'Open account' : 'Top up');
      submit.disabled = busy;
      input.readOnly = busy;
      const { balance: balanceError, ...others } = topUp.errors;
      setError(byId('topup-amount-error'), balanceError && fieldWords('balance', balanceError), input);
      setError(byId('topup-form-error'), otherErrors(others));

      const { items, loaded, nextCursor } = statement;
      byId('entries').hidden = items.length === 0;
      byId('entries-empty').hidden = !loaded || items.length > 0;
      byId('entries-more').hidden = nextCursor === '';
      setRows(byId('entries'), byId('entry-row'), items, (entry) => entry.seq, updateEntry);
    },
  };
}

/** Returns the errors that belong to none of the form's visible fields, as one text. */
export function otherErrors({ form, ...fields }) {
  return [form, ...Object.entries(fields).map(([field, error]) => fieldWords(field, error))].filter(Boolean).join(' ');
}
