// A keyset-paged list, newest first. Refreshes merge into its front, and older pages are appended
// at its end. All functions are pure. `kind` defines how items compare: key(item) identifies an item,
// newer(a, b) is the sort order, and fresher(a, b) reports whether a replaces b, a copy of the same item.

export const emptyList = Object.freeze({ items: Object.freeze([]), nextCursor: '', loaded: false });

function merged(kind, items, incoming) {
  const byKey = new Map(items.map((item) => [kind.key(item), item]));
  for (const item of incoming) {
    const known = byKey.get(kind.key(item));
    if (!known || kind.fresher(item, known)) byKey.set(kind.key(item), item);
  }
  return [...byKey.values()].sort(kind.newer);
}

/** Merges single items into the list, such as an order that was just placed. */
export function withItems(kind, list, incoming) {
  return { ...list, items: merged(kind, list.items, incoming) };
}

/** Merges changed items into the list. Items beyond its end are skipped; a later page will contain them. */
export function withChanged(kind, list, incoming) {
  const last = list.items.at(-1);
  const isBeyond = (item) => last && list.nextCursor !== '' && kind.newer(last, item) < 0;
  return withItems(kind, list, incoming.filter((item) => !isBeyond(item)));
}

/** Merges a fresh copy of the newest page into the list. */
export function withNewest(kind, list, page) {
  const oldest = page.items.at(-1);
  const has = (items, item) => items.some((other) => kind.key(other) === kind.key(item));
  // If the page does not reach the known items, the items between the two would stay missing
  // forever. In that case the list starts over from the page.
  const gap = list.loaded && page.nextCursor !== '' && !has(list.items, oldest)
    && list.items.some((item) => kind.newer(oldest, item) < 0);
  return {
    ...list,
    items: merged(kind, gap ? list.items.filter((item) => has(page.items, item)) : list.items, page.items),
    nextCursor: gap || !list.loaded ? page.nextCursor : list.nextCursor,
    loaded: true,
  };
}

/** Appends the page that was read at cursor, if the list still ends there. */
export function withOlder(kind, list, cursor, page) {
  if (cursor !== list.nextCursor) return list;
  return { ...withItems(kind, list, page.items), nextCursor: page.nextCursor };
}
