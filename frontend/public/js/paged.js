// A keyset-paged list, newest first, that is refreshed from its front while
// older pages are appended at its end. Pure functions; `kind` says how its items compare:
// key(item); newer(a, b), a sort order; fresher(a, b), whether a replaces b, the same item.

export const emptyList = Object.freeze({ items: Object.freeze([]), nextCursor: '', loaded: false });

function merged(kind, items, incoming) {
  const byKey = new Map(items.map((item) => [kind.key(item), item]));
  for (const item of incoming) {
    const known = byKey.get(kind.key(item));
    if (!known || kind.fresher(item, known)) byKey.set(kind.key(item), item);
  }
  return [...byKey.values()].sort(kind.newer);
}

/** Takes in items that are known one by one, such as an order just placed. */
export function withItems(kind, list, incoming) {
  return { ...list, items: merged(kind, list.items, incoming) };
}

/** Takes in items that have changed. One beyond the list's end is left for the page that brings it. */
export function withKnown(kind, list, incoming) {
  const last = list.items.at(-1);
  const isBeyond = (item) => last && list.nextCursor !== '' && kind.newer(last, item) < 0;
  return withItems(kind, list, incoming.filter((item) => !isBeyond(item)));
}

/** Takes in the newest page, read again. */
export function withNewest(kind, list, page) {
  const oldest = page.items.at(-1);
  const has = (items, item) => items.some((other) => kind.key(other) === kind.key(item));
  // When so much is new that the page does not reach what is known, items between the two
  // would be missing for ever: then the list starts over from the page.
  const gap = list.loaded && page.nextCursor !== '' && !has(list.items, oldest)
    && list.items.some((item) => kind.newer(oldest, item) < 0);
  return {
    ...list,
    items: merged(kind, gap ? list.items.filter((item) => has(page.items, item)) : list.items, page.items),
    nextCursor: gap || !list.loaded ? page.nextCursor : list.nextCursor,
    loaded: true,
  };
}

/** Takes in the page that was read at cursor, if the list still ends there. */
export function withOlder(kind, list, cursor, page) {
  if (cursor !== list.nextCursor) return list;
  return { ...withItems(kind, list, page.items), nextCursor: page.nextCursor };
}
