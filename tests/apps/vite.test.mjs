// A Vite dev server with hot reload: an edit on disk changes the page through the proxy's WebSocket, without a reload.
import assert from 'node:assert/strict';
import { cpSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, app, browser, freePort, hasBrowser, here, needs } from './lib/portico.mjs';

test('an edit shows in the page without a reload', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  // Below this folder, so that the packages are found.
  const work = path.join(here, '.work/vite');
  rmSync(work, { recursive: true, force: true });
  cpSync(path.join(here, 'fixtures/vite'), work, { recursive: true });
  const port = await freePort();
  const vite = path.join(here, 'node_modules/vite/bin/vite.js');
  const server = await app(process.execPath, [vite, '--port', String(port), '--strictPort', '--host', '127.0.0.1'], { port, cwd: work });
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); await server.stop(); });
  const { link } = await portico.preview('vite', port);
  const page = await chrome.newPage();
  await page.goto(link);
  await page.waitForFunction(() => document.getElementById('text').textContent === 'before', null, { timeout: 20_000 });
  const since = await page.textContent('#since');
  await page.waitForTimeout(500);
  writeFileSync(path.join(work, 'text.js'), "export const text = 'after';\n");
  await page.waitForFunction(() => document.getElementById('text').textContent === 'after', null, { timeout: 20_000 });
  assert.equal(await page.textContent('#since'), since, 'the page was reloaded');
});
