// Follows open orders by asking again. The event stream tells what happens to them; this is the net
// under it: while there is no stream it asks every few seconds, so that no order ever seems stuck,
// and seldom while there is one, as a connection may be dead and nobody notices.

const FIRST = 1_000;
const LAST = 10_000;
const GROWTH = 1.6;
const LIVE = 30_000;

/**
 * @param {() => Promise<void>} refresh reads the orders again; it never rejects
 * @param {Document} page nothing is asked while it is hidden
 */
export function followOrders(refresh, page) {
  let ids = '';
  let live = false;
  let delay = FIRST;
  let timer;
  let asking = false;

  function plan() {
    if (ids === '' || asking || timer !== undefined || page.hidden) return;
    timer = setTimeout(ask, live ? LIVE : delay);
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
    /** Says which orders are open, and whether the stream tells of them. What is new makes it ask soon again. */
    update(open, streaming) {
      const now = open.join();
      if (now === ids && streaming === live) return;
      ids = now;
      live = streaming;
      restart();
    },
  };
}
