import { shownNotices } from '../state.js';
import { byId, setRows, setText } from './dom.js';

/** What went wrong beyond a form. onRetry(what), onDismiss(topic) */
export function createNoticesView({ onRetry, onDismiss }) {
  const notices = byId('notices');

  notices.addEventListener('click', ({ target }) => {
    const row = target.closest('.notice');
    if (target.matches('.notice-retry')) onRetry(row.dataset.retry);
    if (target.matches('.notice-dismiss')) onDismiss(row.dataset.key);
  });

  return {
    update(state) {
      setRows(notices, byId('notice-row'), shownNotices(state), (notice) => notice.topic, (row, { text, retry }) => {
        setText(row.querySelector('.notice-text'), text);
        setText(row.querySelector('.notice-retry'), retry.label);
        row.dataset.retry = retry.what;
      });
    },
  };
}
