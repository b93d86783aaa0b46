/** Holds the state. dispatch(action) reduces it and, if it changed, notifies each listener with (state, previous). */
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
      const previous = state;
      state = reduce(previous, action);
      if (state !== previous) listeners.forEach((listener) => listener(state, previous));
    },
  };
}
