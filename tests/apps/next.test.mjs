// Next.js in development: the page hydrates and a Server Action posts.
import assert from 'node:assert/strict';
import { cpSync, rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, app, browser, freePort, hasBrowser, here, needs } from './lib/portico.mjs';

// `local` works as it is: Next compares Origin with Host, and lets only localhost load development files.
test('a page hydrates and a Server Action posts', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const work = path.join(here, '.work/next');
  rmSync(work, { recursive: true, force: true });
  cpSync(path.join(here, 'fixtures/next'), work, { recursive: true });
  const port = await freePort();
  const next = path.join(here, 'node_modules/next/dist/bin/next');
  const env = { NEXT_TELEMETRY_DISABLED: '1', CI: '' };
  const server = await app(process.execPath, [next, 'dev', '--port', String(port), '--hostname', '127.0.0.1'], { port, cwd: work, env });
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); await server.stop(); });
  const { link } = await portico.preview('next', port, { profile: 'local' });
  const page = await chrome.newPage();
  await page.goto(link, { timeout: 120_000 });
  // A click counts only once the page has hydrated.
  await page.waitForFunction(() => {
    const button = document.getElementById('count');
    button.click();
    return Number(button.textContent) > 0;
  }, null, { timeout: 60_000, polling: 250 });
  await page.fill('[name=word]', 'through the proxy');
  await page.click('#send');
  await page.waitForFunction(() => document.getElementById('heard').textContent === 'THROUGH THE PROXY', null, { timeout: 60_000 });
  assert.ok(!server.log().includes('x-forwarded-host'), server.log());
});
