// DOM helpers for the views. Text is set as textContent only. A node is changed only if its value differs,
// so updates do not disturb focus, selection or screen readers.

export const byId = (id) => document.getElementById(id);

export function setText(node, text) {
  if (node.textContent !== text) node.textContent = text;
}

export function setAttribute(node, name, value) {
  if (node.getAttribute(name) !== value) node.setAttribute(name, value);
}

/** Calls act when the form is submitted. A button that is disabled during act loses the focus; it is restored at the end. */
export function onSubmit(form, act) {
  // The second click of a double click is ignored, even if the first request has already completed.
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

/**
 * Returns a function to call with the form's last success. It resets the form once per success, if the form still
 * contains the submitted input. A success without known input, such as that of an earlier page, resets nothing.
 */
export function resetWhenDone(form, isSame) {
  let previous = null;
  return (done) => {
    if (done !== previous && done?.typed && isSame(done.typed)) form.reset();
    previous = done;
  };
}

/** Shows or hides a field error and sets aria-invalid on its input. */
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

/** Formats a time in milliseconds as a time of day, to the second. */
export const clockTime = (moment) => timeOfDay.format(moment);

function formatTime(format, rfc3339) {
  const time = new Date(rfc3339);
  return Number.isNaN(time.getTime()) ? rfc3339 : format.format(time);
}

/** Shows a time in a time element, as the given text or else as date and time. */
export function setTime(node, rfc3339, text) {
  setText(node, text ?? formatTime(clock, rfc3339));
  setAttribute(node, 'datetime', rfc3339);
  setAttribute(node, 'title', formatTime(exact, rfc3339));
}

/**
 * Makes the children of parent match the items, in order. Each key has one clone of the template, which is kept while its item exists.
 * @param {(row: Element, item: object) => void} update shows the item in its row; it is called on every update
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
