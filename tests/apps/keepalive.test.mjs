// A Node server that closes idle connections after 5 s, under steady light load around that moment: not one error of ours.
import assert from 'node:assert/strict';
import http from 'node:http';
import test from 'node:test';
import { Portico } from './lib/portico.mjs';

const SECONDS = Number(process.env.PORTICO_KEEPALIVE_SECONDS ?? 60);

test(`no spurious 502 in ${SECONDS} s around Node's keep-alive limit`, async (t) => {
  const node = http.createServer((request, response) => response.end('ok'));
  node.keepAliveTimeout = 5000;
  await new Promise((resolve) => node.listen(0, '127.0.0.1', resolve));
  const portico = await Portico.start();
  t.after(async () => { await portico.stop(); node.close(); node.closeAllConnections(); });
  const { host, token } = await portico.preview('node', node.address().port);
  const headers = { 'x-miosa-preview-token': token };
  const agent = new http.Agent({ keepAlive: true, maxSockets: 24 });
  const until = Date.now() + SECONDS * 1000;
  const statuses = new Map();
  const visitor = async (number) => {
    // Gaps from 3.5 s to 6.5 s, closest together around 5 s, with GET and POST.
    const gaps = [3500, 4500, 4900, 4980, 5000, 5020, 5100, 5500, 6500];
    for (let turn = number; Date.now() < until; turn += 1) {
      const method = turn % 3 === 0 ? 'POST' : 'GET';
      const { status } = await portico.visit(host, '/', { method, headers, agent });
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      await new Promise((resolve) => setTimeout(resolve, gaps[turn % gaps.length]));
    }
  };
  await Promise.all(Array.from({ length: 24 }, (_, number) => visitor(number)));
  agent.destroy();
  t.diagnostic(`responses by status: ${JSON.stringify([...statuses])}`);
  assert.deepEqual([...statuses.keys()], [200]);
  assert.ok(statuses.get(200) >= (SECONDS / 7) * 24);
});
