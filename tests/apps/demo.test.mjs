// The first thing a newcomer sees: the printed link, opened in a browser.
import assert from 'node:assert/strict';
import path from 'node:path';
import test from 'node:test';
import { Portico, browser, hasBrowser, here, needs } from './lib/portico.mjs';

test('the printed link shows every kind of traffic working, and revoking ends it', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); });
  const page = await chrome.newPage({ viewport: { width: 1000, height: 900 } });
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(portico.facts.preview_url);
  const all = 'page script style fetch sse websocket';
  await page.waitForFunction((wanted) => document.body.dataset.ready === wanted, all, { timeout: 15_000 });
  assert.equal(new URL(page.url()).search, '', 'the address is clean');
  const seen = await page.textContent('#headers');
  assert.ok(!seen.includes('ms_') && !seen.includes('__Host-'), `the app saw a credential: ${seen}`);
  assert.ok(seen.includes('x-forwarded-host: 3000-demo.'), seen);
  assert.deepEqual(await page.evaluate(() => document.cookie), '', 'no script sees the session');
  await page.screenshot({ path: path.join(here, 'screenshots/demo.png') });
  assert.deepEqual(errors, []);
  const { data } = await portico.api('GET', '/sandboxes/by-name/demo');
  const started = Date.now();
  const [share] = (await portico.api('GET', `/sandboxes/${data.id}/shares`)).data;
  await portico.api('DELETE', `/sandboxes/${data.id}/shares/${share.share_id}`);
  await page.waitForFunction(() => document.body.dataset.closed === '4403', null, { timeout: 5000 });
  t.diagnostic(`revoked to closed, as the browser saw it: ${Date.now() - started} ms`);
  await page.reload();
  assert.match(await page.textContent('h1'), /This link has been revoked/);
});
