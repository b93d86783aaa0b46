import assert from 'node:assert/strict';
import { test } from 'node:test';
import * as json from '../public/js/json.js';
import { MAX, format, fromLiteral, parse, toLiteral } from '../public/js/money.js';

test('typed amounts are parsed exactly', () => {
  const cases = {
    0: 0n,
    1000: 100_000n,
    '19.99': 1_999n,
    '19,99': 1_999n,
    '19.9': 1_990n,
    ' 0.01 ': 1n,
    '0.29': 29n, // 0.29 * 100 is 28.999… as a double
    '1.10': 110n,
    '4.35': 435n,
    '1 234 567.80': 123_456_780n,
    '1\u00a0234.5': 123_450n,
    '1\u202f234': 123_400n,
    '9999999999999.99': MAX,
    '9999999999999.98': MAX - 1n,
  };
  for (const [text, amount] of Object.entries(cases)) assert.deepEqual(parse(text), { amount }, text);
});

test('invalid amounts are rejected with a reason', () => {
  const cases = {
    '': /is required/,
    '   ': /is required/,
    '1.999': /two decimal places/,
    '1,000': /two decimal places/,
    '10000000000000.00': /at most 9 999 999 999 999\.99/,
    '999999999999999999999': /at most/,
  };
  for (const text of ['-5', '+5', '1e3', '0x10', 'abc', '5.', '.5', '1 2', '12 34 567', '1234 567', '1.2.3', 'NaN', '١٢', '5₽']) {
    cases[text] = /plain number/;
  }
  for (const [text, reason] of Object.entries(cases)) {
    const { amount, error = '' } = parse(text);
    assert.equal(amount, undefined, text);
    assert.match(error.replaceAll('\u00a0', ' '), reason, text);
  }
});

test('the minimum amount is valid', () => {
  assert.deepEqual(parse('0.01', 1n), { amount: 1n });
  assert.match(parse('0', 1n).error, /at least 0\.01/);
  assert.match(parse('0.00', 1n).error, /at least 0\.01/);
});

test('displayed amounts are grouped and can be parsed again', () => {
  const cases = [[0n, '0.00'], [5n, '0.05'], [99_900n, '999.00'], [100_000n, '1 000.00'], [-123_456_789n, '−1 234 567.89'], [MAX, '9 999 999 999 999.99']];
  for (const [amount, text] of cases) {
    assert.equal(format(amount), text.replaceAll(' ', '\u00a0'));
    if (amount >= 0n) assert.deepEqual(parse(format(amount)), { amount });
  }
});

test('amounts convert to and from the JSON numbers of the API', () => {
  const cases = [[0n, '0'], [1n, '0.01'], [10n, '0.1'], [100_000n, '1000'], [1_990n, '19.9'], [1_999n, '19.99'], [-1_999n, '-19.99'], [MAX, '9999999999999.99']];
  for (const [amount, literal] of cases) {
    assert.equal(toLiteral(amount), literal);
    assert.equal(fromLiteral(literal), amount);
  }
  assert.equal(fromLiteral('19.90'), 1_990n);
  for (const bad of ['1.999', '1e3', '', 'null', '1.', ' 1']) assert.throws(() => fromLiteral(bad), RangeError, bad);
});

test('JSON keeps every digit of a number and leaves strings unchanged', () => {
  const text = '{"balance": 9999999999999.99, "item": "a \\"1.5\\" b\\\\", "n": [-1, 2e3], "ok": true, "none": null}';
  assert.deepEqual(json.parse(text), {
    balance: '9999999999999.99', item: 'a "1.5" b\\', n: ['-1', '2e3'], ok: true, none: null,
  });
  for (const bad of ['', '{', '{"a": 007}', '{"a": 1.2.3}', '<html>']) assert.throws(() => json.parse(bad), SyntaxError, bad);
  assert.equal(
    json.stringify({ user_id: 2 ** 53 - 1, item: 'He said "hi"', price: MAX }),
    '{"user_id":9007199254740991,"item":"He said \\"hi\\"","price":9999999999999.99}',
  );
});
