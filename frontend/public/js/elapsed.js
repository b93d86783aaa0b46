// Formats the time between two moments in a short form.

const UNITS = [['d', 86_400_000], ['h', 3_600_000], ['min', 60_000], ['s', 1_000]];

/**
 * Returns '+12 ms', '+1.2 s', '+2 min 5 s' or '+3 h 10 min'; null if a time cannot be parsed.
 * Steps are timestamped by more than one clock, so a step may seem to precede the first. It is shown as '+0 ms'.
 */
export function elapsed(from, to) {
  const passed = Math.max(0, new Date(to) - new Date(from));
  if (Number.isNaN(passed)) return null;
  if (passed < 1_000) return `+${passed}\u00a0ms`;
  if (passed < 10_000) return `+${Math.floor(passed / 100) / 10}\u00a0s`;
  const largest = UNITS.findIndex(([, size]) => passed >= size);
  let left = passed;
  const parts = UNITS.slice(largest, largest + 2).map(([unit, size]) => {
    const count = Math.floor(left / size);
    left %= size;
    return count > 0 && `${count}\u00a0${unit}`;
  });
  return `+${parts.filter(Boolean).join(' ')}`;
}
