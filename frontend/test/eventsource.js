// An EventSource for tests, because Node has none. It uses real HTTP and implements the parts of the standard that
// the page uses: it reconnects with Last-Event-ID when a stream ends, and closes on any response that is not a stream.
import { request } from 'node:http';

export class TestEventSource extends EventTarget {
  readyState = 0;
  #url;
  #lastId = '';
  #retry = 1_000;
  #request;
  #timer;

  constructor(url) {
    super();
    this.#url = url;
    this.#connect();
  }

  close() {
    this.readyState = 2;
    clearTimeout(this.#timer);
    this.#request.destroy();
  }

  #connect() {
    const headers = { Accept: 'text/event-stream', ...(this.#lastId && { 'Last-Event-ID': this.#lastId }) };
    this.#request = request(this.#url, { headers }, (response) => this.#read(response));
    this.#request.on('error', () => this.#reconnect()).end();
  }

  #read(response) {
    if (response.statusCode !== 200 || !response.headers['content-type']?.startsWith('text/event-stream')) {
      this.close();
      this.dispatchEvent(new Event('error'));
      return;
    }
    this.readyState = 1;
    this.dispatchEvent(new Event('open'));
    let text = '';
    response.setEncoding('utf8').on('data', (chunk) => {
      const blocks = (text + chunk).split('\n\n');
      text = blocks.pop();
      blocks.forEach((block) => this.#dispatch(block));
    });
    response.on('close', () => this.#reconnect());
  }

  #dispatch(block) {
    const data = [];
    let name = 'message';
    for (const line of block.split('\n')) {
      const [, field, value] = /^([^:]*):? ?(.*)$/.exec(line);
      if (field === 'data') data.push(value);
      if (field === 'event') name = value;
      if (field === 'id') this.#lastId = value;
      if (field === 'retry') this.#retry = Number(value);
    }
    if (data.length === 0 || this.readyState === 2) return;
    this.dispatchEvent(Object.assign(new Event(name), { data: data.join('\n'), lastEventId: this.#lastId }));
  }

  #reconnect() {
    if (this.readyState === 2 || this.#timer) return;
    this.readyState = 0;
    this.#timer = setTimeout(() => {
      this.#timer = undefined;
      this.#connect();
    }, this.#retry);
    this.dispatchEvent(new Event('error'));
  }
}
