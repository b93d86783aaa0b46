// JSON with exact numbers. JSON.parse turns numbers into doubles, which have too few digits
// for the largest amounts, and JSON.stringify cannot write an exact number.
import { toLiteral } from './money.js';

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Parses text; every number becomes the string of its literal. Throws SyntaxError. */
export function parse(text) {
  JSON.parse(text); // rejects input that quoting the numbers would make valid, such as 007
  return JSON.parse(text.replace(STRING_OR_NUMBER, (token) => (token[0] === '"' ? token : `"${token}"`)));
}

/** Serializes a flat object. A BigInt in it is an amount of money. */
export function stringify(fields) {
  const members = Object.entries(fields).map(([name, value]) => {
    const written = typeof value === 'bigint' ? toLiteral(value) : JSON.stringify(value);
    return `${JSON.stringify(name)}:${written}`;
  });
  return `{${members.join(',')}}`;
}
