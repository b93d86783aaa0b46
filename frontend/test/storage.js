/** A Storage for tests, because Node has none. It implements the parts of the standard that the page uses. */
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
