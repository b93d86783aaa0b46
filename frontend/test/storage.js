/** The browser's Storage, which Node does not have: a stand-in with what the page relies on of the standard. */
export class TestStorage {
  #items = new Map();

  get length() {
    return this.#items.size;
  }

  key(i) {
    return [...this.#items.keys()][i] ?? null;
  }

  getItem(name) {
    return this.#items.get(name) ?? null;
  }

  setItem(name, text) {
    this.#items.set(String(name), String(text));
  }

  removeItem(name) {
    this.#items.delete(name);
  }
}
