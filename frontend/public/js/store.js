/** Holds the state: dispatch(action) reduces it and tells each listener (state, before), if it changed. */
export function createStore(reduce, initial) {
  let state = initial;
  const listeners = new Set();
  return {
    get state() {
      return state;
    },
    subscribe(listener) {
      listeners.add(listener);
    },
    dispatch(action) {
      const before = state;
      state = reduce(before, action);
      if (state !== before) listeners.forEach((listener) => listener(state, before));
    },
  };
}
