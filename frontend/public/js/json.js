// JSON whose numbers stay exact. JSON.parse makes doubles of them, and a double
// has too few digits for the largest amounts; JSON.stringify has no exact number at all.
import { toLiteral } from './money.js';

const STRING_OR_NUMBER = /"(?:[^"\\]|\\.)*"|-?\d[\d.eE+-]*/g;

/** Parses text; every number comes as the string of its literal. Throws SyntaxError. */
export function parse(text) {
  JSON.parse(text); // refuses what quoting the numbers could make acceptable, such as 007
  return JSON.parse(text.replace(STRING_OR_NUMBER, (token) => (token[0] === '"' ? token : `"${token}"`)));
}

/** Writes a flat object; a BigInt in it is an amount of money. */
export function stringify(fields) {
  const members = Object.entries(fields).map(([name, value]) => {
    const written = typeof value === 'bigint' ? toLiteral(value) : JSON.stringify(value);
    return `${JSON.stringify(name)}:${written}`;
  });
  return `{${members.join(',')}}`;
}
