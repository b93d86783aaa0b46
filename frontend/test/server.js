import { once } from 'node:events';
import { createServer } from 'node:http';

/** Starts a real HTTP server for one test. answer(request, response, body) returns the JSON to send, or undefined if it responded itself. */
export async function startServer(t, answer) {
  const requests = [];
  const server = createServer(async (request, response) => {
    let body = '';
    for await (const chunk of request) body += chunk;
    requests.push({ method: request.method, url: request.url, body, headers: request.headers });
    const sent = await answer(request, response, body);
    if (sent === undefined) return;
    response.setHeader('Content-Type', response.statusCode < 400 ? 'application/json' : 'application/problem+json');
    response.end(typeof sent === 'string' ? sent : JSON.stringify(sent));
  });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => {
    server.closeAllConnections();
    server.close();
  });
  return { base: `http://127.0.0.1:${server.address().port}`, requests };
}

export const order = (id, fields = {}) => ({
  id, user_id: 1, item: 'Laptop', price: 1000, status: 'NEW', version: 1,
  created_at: '2026-01-01T00:00:00Z', updated_at: '2026-01-01T00:00:00Z', timeline: [{ step: 'placed', at: '2026-01-01T00:00:00Z' }], ...fields,
});

/** Resolves when the store's state meets the condition. */
export const until = (store, condition) => new Promise((resolve) => {
  if (condition(store.state)) resolve();
  store.subscribe((state) => condition(state) && resolve());
});
