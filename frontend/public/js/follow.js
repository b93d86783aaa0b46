// Follows open orders until they settle, by asking again and again. This is the one place that
// knows that: an event stream can take its place behind the same update(ids).

const FIRST = 250;
const LAST = 5_000;
const GROWTH = 1.6;

/**
 * @param {() => Promise<void>} refresh reads the orders again; it never rejects
 * @param {Document} page nothing is asked while it is hidden
 */
export function followOrders(refresh, page) {
  let ids = '';
  let delay = FIRST;
  let timer;
  let asking = false;

  function plan() {
    if (ids === '' || asking || timer !== undefined || page.hidden) return;
    timer = setTimeout(ask, delay);
    delay = Math.min(delay * GROWTH, LAST);
  }

  async function ask() {
    timer = undefined;
    asking = true;
    try {
      await refresh();
    } finally {
      asking = false;
      plan();
    }
  }

  function restart() {
    clearTimeout(timer);
    timer = undefined;
    delay = FIRST;
    plan();
  }

  page.addEventListener('visibilitychange', restart);

  return {
    /** Says which orders are open. When they are others than before, it asks soon again. */
    update(open) {
      const now = open.join();
      if (now === ids) return;
      ids = now;
      restart();
    },
  };
}
