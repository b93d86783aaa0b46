import { shownNotices } from '../state.js';
import { byId, setAttribute, setRows, setText } from './dom.js';

/** What went wrong beyond a form. onRetry(what, id), onDismiss(id) */
export function createNoticesView({ onRetry, onDismiss }) {
  const notices = byId('notices');

  notices.addEventListener('click', ({ target }) => {
    const row = target.closest('.notice');
    if (target.matches('.notice-retry')) onRetry(row.dataset.retry, row.dataset.key);
    if (target.matches('.notice-dismiss')) onDismiss(row.dataset.key);
  });

  return {
    update(state) {
      setRows(notices, byId('notice-row'), shownNotices(state), (notice) => notice.id, (row, { topic, text, retry, busy }) => {
        row.dataset.topic = topic;
        row.dataset.retry = retry?.what ?? '';
        setText(row.querySelector('.notice-text'), text);
        const again = row.querySelector('.notice-retry');
        again.hidden = !retry;
        setText(again, busy ? 'Trying…' : retry?.label ?? '');
        // Not `disabled`: the button would lose the focus.
        setAttribute(again, 'aria-disabled', String(busy));
      });
    },
  };
}
