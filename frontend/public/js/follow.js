// Polls open orders, as a fallback for the event stream. Without a stream it polls every few seconds, so that
// no order seems stuck. With a stream it polls rarely, in case the connection is dead and no error was reported.

const MIN_DELAY = 1_000;
const MAX_DELAY = 10_000;
const GROWTH = 1.6;
const LIVE_DELAY = 30_000;

/**
 * @param {() => Promise<void>} refresh reads the orders again; it never rejects
 * @param {Document} page polling is paused while it is hidden
 */
export function followOrders(refresh, page) {
  let ids = '';
  let live = false;
  let delay = MIN_DELAY;
  let timer;
  let refreshing = false;

  function schedule() {
    if (ids === '' || refreshing || timer !== undefined || page.hidden) return;
    timer = setTimeout(refreshNow, live ? LIVE_DELAY : delay);
    delay = Math.min(delay * GROWTH, MAX_DELAY);
  }

  async function refreshNow() {
    timer = undefined;
    refreshing = true;
    try {
      await refresh();
    } finally {
      refreshing = false;
      schedule();
    }
  }

  function restart() {
    clearTimeout(timer);
    timer = undefined;
    delay = MIN_DELAY;
    schedule();
  }

  page.addEventListener('visibilitychange', restart);

  return {
    /** Sets the ids of the open orders and whether a stream delivers their changes. Any change resets the delay. */
    update(open, streaming) {
      const now = open.join();
      if (now === ids && streaming === live) return;
      ids = now;
      live = streaming;
      restart();
    },
  };
}
