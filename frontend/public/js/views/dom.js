// The few DOM helpers of the views. Text goes in as textContent only, and nothing is
// touched that already is as it should be: focus, selection and screen readers are left in peace.

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Lets act handle the form. A button that is disabled meanwhile loses the focus; it gets it back. */
export function onSubmit(form, act) {
  // The second click of a double click is no second wish, even where the first was answered in between.
  form.addEventListener('click', (event) => {
    if (event.detail > 1 && event.target.matches('button')) event.preventDefault();
  });
  form.addEventListener('submit', async (event) => {
    event.preventDefault();
    const focused = document.activeElement;
    await act(form);
    if (document.activeElement === document.body) focused.focus();
  });
}

/** Empties the form when it still holds what has just been done: unless more was typed meanwhile, or by another page. */
export function resetWhenDone(form, isSame) {
  let seen = null;
  return (done) => {
    if (done !== seen && done?.typed && isSame(done.typed)) form.reset();
    seen = done;
  };
}

/** Shows a field's error beside it and ties the two for assistive technology. */
export function setError(node, text = '', input = null) {
  setText(node, text);
  node.hidden = text === '';
  if (input) setAttribute(input, 'aria-invalid', String(text !== ''));
}

const clock = new Intl.DateTimeFormat('en-GB', { dateStyle: 'medium', timeStyle: 'medium' });

const exact = new Intl.DateTimeFormat('en-GB', {
  day: 'numeric', month: 'short', year: 'numeric', hour: '2-digit', minute: '2-digit', second: '2-digit', fractionalSecondDigits: 3,
});

const timeOfDay = new Intl.DateTimeFormat('en-GB', { timeStyle: 'medium' });

/** The time of day, to the second, of a moment in milliseconds. */
export const clockTime = (moment) => timeOfDay.format(moment);

function written(format, rfc3339) {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? rfc3339 : format.format(time);
}

/** Shows a moment in the given words, by default the time itself. */
export function setTime(node, rfc3339, words) {
  setText(node, words ?? written(clock, rfc3339));
  setAttribute(node, 'datetime', rfc3339);
  setAttribute(node, 'title', written(exact, rfc3339));
}

/**
 * Makes parent's children the items, in their order: one clone of the template for each key, kept as long as its item.
 * @param {(row: Element, item: object) => void} update makes a row show its item, as often as it is called
 */
export function setRows(parent, template, items, keyOf, update) {
  const keys = new Set(items.map((item) => String(keyOf(item))));
  const rows = new Map();
  for (const row of [...parent.children]) {
    if (keys.has(row.dataset.key)) rows.set(row.dataset.key, row);
    else row.remove();
  }
  let next = parent.firstElementChild;
  for (const item of items) {
    const key = String(keyOf(item));
    const row = rows.get(key) ?? template.content.firstElementChild.cloneNode(true);
    row.dataset.key = key;
    update(row, item);
    if (row === next) next = next.nextElementSibling;
    else parent.insertBefore(row, next);
  }
}
