// Polls the data that no event stream covers, while the page is visible. The balance also changes by
// top-ups in other tabs and through the API.

const INTERVAL = 3_000;
const MAX_INTERVAL = 30_000;
const GROWTH = 2;

/**
 * @param {() => Promise<boolean>} read resolves to false on failure, which lengthens the interval; it never rejects
 * @param {Document} page polling is paused while it is hidden
 * @param {EventTarget} window a focus event triggers an immediate read
 */
export function poll(read, page, window) {
  let interval = INTERVAL;
  let timer;
  let reading = false;

  async function readNow() {
    clearTimeout(timer);
    if (reading || page.hidden) return;
    reading = true;
    try {
      interval = await read() ? INTERVAL : Math.min(interval * GROWTH, MAX_INTERVAL);
    } finally {
      reading = false;
      timer = setTimeout(readNow, interval);
    }
  }

  page.addEventListener('visibilitychange', readNow);
  window.addEventListener('focus', readNow);
  window.addEventListener('pageshow', readNow); // also fires when the page returns from the back/forward cache
  timer = setTimeout(readNow, interval);
}
