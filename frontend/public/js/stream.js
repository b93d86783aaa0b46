// Keeps one event stream open while there is a user and somebody looks. A browser takes six connections
// to a shop at most, over HTTP/1.1, and a stream holds one for good: a hidden tab gives its own back,
// and when it is seen again its new stream begins with a snapshot of what it missed.
import { decodeEvent } from './wire.js';

const CLOSED = 2; // EventSource.CLOSED: it has given up, after an answer that was no stream
const FIRST = 1_000;
const LAST = 30_000;

/**
 * @param {{
 *   connect: (user: number) => EventSource,
 *   page: Document,
 *   onEvent: (user: number, name: 'snapshot' | 'order', told: object) => void,
 *   onLive: (user: number, live: boolean) => void,
 *   first?: number, last?: number,
 * }} parts first and last: the pauses before it connects anew, in milliseconds
 */
export function createStream({ connect, page, onEvent, onLive, first = FIRST, last = LAST }) {
  let user = null;
  let source = null;
  let live = false;
  let pause = first;
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

  // A shop that has just come back is not met by all pages at once.
  function giveUp() {
    stop();
    timer = setTimeout(start, pause * (0.5 + Math.random() / 2));
    pause = Math.min(pause * 2, last);
  }

  function start() {
    if (user === null || page.hidden) return;
    source = connect(user);
    let begun = false;
    for (const name of ['snapshot', 'order']) {
      source.addEventListener(name, ({ data }) => {
        let told;
        try {
          told = decodeEvent[name](data);
        } catch {
          giveUp(); // a new stream begins with a snapshot, which makes up for what cannot be read
          return;
        }
        begun = true;
        pause = first;
        setLive(true);
        onEvent(user, name, told);
      });
    }
    // It reconnects by itself and gets what it missed, which may be nothing. The first time a snapshot must come.
    source.addEventListener('open', () => setLive(begun));
    source.addEventListener('error', ({ target }) => (target.readyState === CLOSED ? giveUp() : setLive(false)));
  }

  function restart() {
    stop();
    pause = first;
    start();
  }

  page.addEventListener('visibilitychange', restart);

  return {
    /** Says whose orders to tell; null for nobody's. */
    follow(whose) {
      stop();
      user = whose;
      restart();
    },
  };
}
