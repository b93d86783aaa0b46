import { shownNotices } from '../state.js';
import { byId, setAttribute, setRows, setText } from './dom.js';

/** Creates the view of notices: problems that belong to no form. Callbacks: onAction(action, id), onDismiss(id). */
export function createNoticesView({ onAction, onDismiss }) {
  const notices = byId('notices');

  notices.addEventListener('click', ({ target }) => {
    const row = target.closest('.notice');
    if (target.matches('.notice-retry')) onAction(row.dataset.action, row.dataset.key);
    if (target.matches('.notice-dismiss')) onDismiss(row.dataset.key);
  });

  return {
    update(state) {
      setRows(notices, byId('notice-row'), shownNotices(state), (notice) => notice.id, (row, { topic, text, retry, busy }) => {
        row.dataset.topic = topic;
        row.dataset.action = retry?.action ?? '';
        setText(row.querySelector('.notice-text'), text);
        const button = row.querySelector('.notice-retry');
        button.hidden = !retry;
        setText(button, busy ? 'Trying…' : retry?.label ?? '');
        // A disabled button would lose the focus.
        setAttribute(button, 'aria-disabled', String(busy));
      });
    },
  };
}
