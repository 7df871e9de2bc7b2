// `python3 -m http.server`: a listing, a large file byte by byte, HEAD.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, app, freePort, needs, temporary } from './lib/portico.mjs';

test('files arrive as they are', async (t) => {
  if (!needs(t, spawnSync('python3', ['--version']).status === 0, 'python3')) return;
  const folder = temporary();
  const file = randomBytes(20 << 20);
  writeFileSync(path.join(folder, 'large.bin'), file);
  const port = await freePort();
  const server = await app('python3', ['-m', 'http.server', String(port), '--bind', '127.0.0.1'], { port, cwd: folder });
  const portico = await Portico.start();
  t.after(async () => { await portico.stop(); await server.stop(); rmSync(folder, { recursive: true }); });
  const { host, token } = await portico.preview('static', port);
  const headers = { 'x-miosa-preview-token': token };
  const listing = await portico.visit(host, '/', { headers });
  assert.equal(listing.status, 200);
  assert.ok(listing.body.includes('large.bin'));
  const whole = await portico.visit(host, '/large.bin', { headers });
  assert.ok(whole.body.equals(file), 'the file changed on its way');
  const head = await portico.visit(host, '/large.bin', { method: 'HEAD', headers });
  assert.equal(head.headers['content-length'], String(file.length));
  assert.equal(head.body.length, 0);
  assert.equal((await portico.visit(host, '/absent', { headers })).headers['x-preview-source'], 'app');
});
