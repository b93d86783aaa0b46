// The current user: a number that the visitor picks, kept in the address and in the browser's storage.

const KEY = 'gozon.user';

/** Parses a user number. Returns {user}, or {error}, a phrase that follows a field name. */
export function parseUser(text) {
  const typed = text.trim();
  if (typed === '') return { error: 'is required' };
  const user = /^[1-9]\d{0,15}$/.test(typed) ? Number(typed) : NaN;
  if (!Number.isSafeInteger(user)) return { error: 'must be a whole number from 1 to 9007199254740991' };
  return { user };
}

/** Returns the user named in the address, or else the user of the last visit, or null. */
export function currentUser() {
  const named = new URLSearchParams(location.search).get('user');
  return parseUser(named ?? remembered() ?? '').user ?? null;
}

/** Puts the user into the address and saves it for the next visit. */
export function rememberUser(user) {
  const address = new URL(location.href);
  const named = address.searchParams.get('user');
  address.searchParams.set('user', user);
  if (named === null) history.replaceState(null, '', address);
  else if (named !== String(user)) history.pushState(null, '', address);
  try {
    localStorage.setItem(KEY, String(user));
  } catch {
    // Storage is blocked or full; the address still names the user.
  }
}

function remembered() {
  try {
    return localStorage.getItem(KEY);
  } catch {
    return null;
  }
}
