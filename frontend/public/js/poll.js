// Polls what no event stream covers, while the page is visible: the balance also changes by top-ups
// in other tabs and through the API.

const EVERY = 3_000;
const SLOWEST = 30_000;
const GROWTH = 2;

/**
 * @param {() => Promise<boolean>} read false when it failed, which makes the pauses longer; it never rejects
 * @param {Document} page nothing is read while it is hidden
 * @param {EventTarget} window its focus is a reason to read at once
 */
export function poll(read, page, window) {
  let pause = EVERY;
  let timer;
  let reading = false;

  async function readNow() {
    clearTimeout(timer);
    if (reading || page.hidden) return;
    reading = true;
    try {
      pause = await read() ? EVERY : Math.min(pause * GROWTH, SLOWEST);
    } finally {
      reading = false;
      timer = setTimeout(readNow, pause);
    }
  }

  page.addEventListener('visibilitychange', readNow);
  window.addEventListener('focus', readNow);
  window.addEventListener('pageshow', readNow); // also when it comes back from the back/forward cache
  timer = setTimeout(readNow, pause);
}
