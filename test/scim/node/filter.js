// Reads [{filter, resource}] and answers with true, false or null (cannot be read) for each: scim2-parse-filter
// is the oracle of the filter tests.
import { parse, filter } from 'scim2-parse-filter';

let text = '';
for await (const part of process.stdin) text += part;
console.log(JSON.stringify(JSON.parse(text).map((q) => {
  try {
    return filter(parse(q.filter))(q.resource);
  } catch {
    return null;
  }
})));
