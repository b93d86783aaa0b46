// Keeps one event stream open while there is a user and the page is visible. Over HTTP/1.1 a browser opens at
// most six connections to the shop, and a stream occupies one of them. A hidden tab therefore closes its stream.
// When the tab is visible again, it opens a new stream, which starts with a snapshot.
import { decodeEvent } from './wire.js';

const CLOSED = 2; // EventSource.CLOSED: the response was not an event stream, and EventSource does not reconnect
const MIN_DELAY = 1_000;
const MAX_DELAY = 30_000;

/**
 * @param {{
 *   connect: (user: number) => EventSource,
 *   page: Document,
 *   onEvent: (user: number, name: 'snapshot' | 'order', data: object) => void,
 *   onLive: (user: number, live: boolean) => void,
 *   minDelay?: number, maxDelay?: number,
 * }} options minDelay, maxDelay: bounds of the backoff before a new stream is opened, in milliseconds
 */
export function createStream({ connect, page, onEvent, onLive, minDelay = MIN_DELAY, maxDelay = MAX_DELAY }) {
  let user = null;
  let source = null;
  let live = false;
  let delay = minDelay;
  let timer;

  function setLive(now) {
    if (now === live) return;
    live = now;
    onLive(user, live);
  }

  function stop() {
    clearTimeout(timer);
    source?.close();
    source = null;
    setLive(false);
  }

  // The delay has jitter, so that the pages do not all reconnect at once when the shop is back.
  function reopenLater() {
    stop();
    timer = setTimeout(start, delay * (0.5 + Math.random() / 2));
    delay = Math.min(delay * 2, maxDelay);
  }

  function start() {
    if (user === null || page.hidden) return;
    source = connect(user);
    let started = false;
    for (const name of ['snapshot', 'order']) {
      source.addEventListener(name, ({ data }) => {
        let received;
        try {
          received = decodeEvent[name](data);
        } catch {
          reopenLater(); // the snapshot of a new stream replaces the unreadable event
          return;
        }
        started = true;
        delay = minDelay;
        setLive(true);
        onEvent(user, name, received);
      });
    }
    // After a reconnect the stream sends only the missed events, possibly none, so it is live at once.
    // A new stream is live with its first event, the snapshot.
    source.addEventListener('open', () => setLive(started));
    source.addEventListener('error', ({ target }) => (target.readyState === CLOSED ? reopenLater() : setLive(false)));
  }

  function restart() {
    stop();
    delay = minDelay;
    start();
  }

  page.addEventListener('visibilitychange', restart);

  return {
    /** Switches the stream to another user's orders; null closes it. */
    follow(nextUser) {
      stop();
      user = nextUser;
      restart();
    },
  };
}
