// The pages of ours in a browser: nothing overflows, nothing is blocked, nothing hostile works, in every size and scheme.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, browser, freePort, hasBrowser, here, needs } from './lib/portico.mjs';

const LONG = 'OpenDesigns Workspaces for Brand Studios and Their Clients 60';
const SIZES = [{ width: 320, height: 240 }, { width: 1280, height: 800 }];

test('pages fit, keep to their policy and wear the tenant\'s face', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); });
  const shots = path.join(here, 'screenshots');
  mkdirSync(shots, { recursive: true });
  const dead = await portico.preview('dead', await freePort());
  const stopped = await portico.preview('stopped', 3000);
  await portico.api('POST', `/sandboxes/${stopped.id}/stop`, {});
  const paused = await portico.preview('paused', 3000);
  await portico.api('POST', `/sandboxes/${paused.id}/pause`, {});
  const port = portico.port;
  portico.operate('domain', 'add', 'opendesigns.localhost', '--tenant', 'dev');
  const pages = {
    'not-found': `http://nope.${portico.facts.zone}:${port}/`,
    'not-found-own-zone': `http://nope.sandbox.opendesigns.localhost:${port}/`,
    'sign-in': `http://${dead.host}/private`,
    invalid: `http://${dead.host}/?mt=mp_nonsense`,
    'nothing-listening': dead.link,
    stopped: stopped.link,
    paused: paused.link,
  };
  const faces = {
    plain: null,
    branded: { product_name: LONG, logo_url: 'https://cdn.opendesigns.example/logo.svg', support_email: 'help@opendesigns.example', primary_color: '#ffd400', background_color: '#102040' },
    hostile: { product_name: '"><script>document.title="owned"</script>{{7*7}}<img src=x onerror=alert(1)>', support_url: 'https://opendesigns.example/?"=' .replace('"', '%22') },
  };
  for (const [face, branding] of Object.entries(faces)) {
    if (branding) await portico.api('PUT', '/tenant/branding', { branding });
    for (const colorScheme of ['light', 'dark']) {
      for (const viewport of SIZES) {
        const context = await chrome.newContext({ viewport, colorScheme });
        // The only thing a page may ask for beside itself.
        await context.route('https://cdn.opendesigns.example/**', (route) => route.fulfill({
          contentType: 'image/svg+xml',
          body: '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="40"><rect width="160" height="40" rx="8" fill="#e4572e"/></svg>',
        }));
        for (const [name, url] of Object.entries(pages)) {
          const page = await context.newPage();
          const faults = [];
          page.on('console', (message) => message.type() === 'error' && !/status of \d+/.test(message.text()) && faults.push(message.text()));
          page.on('pageerror', (error) => faults.push(String(error)));
          page.on('dialog', (dialog) => { faults.push('a dialog'); dialog.dismiss(); });
          await page.goto(url);
          const what = `${name}-${face}-${colorScheme}-${viewport.width}`;
          const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
          assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
          assert.notEqual(await page.title(), 'owned', what);
          assert.equal(await page.locator('script').count(), await page.locator('script:not([src])').count(), what);
          assert.equal(await page.locator('footer script, footer img').count(), 0, what);
          assert.deepEqual(faults, [], what);
          const text = (await page.content()).toLowerCase();
          assert.ok(!text.includes('portico') && !text.includes('miosa'), what);
          await page.screenshot({ path: path.join(shots, `${what}.png`) });
          await page.close();
        }
        await context.close();
      }
    }
  }
});

test('a page of ours turns into the app when the app is there', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const portico = await Portico.start();
  const chrome = await browser();
  const port = await freePort();
  const { link } = await portico.preview('late', port);
  const page = await chrome.newPage();
  await page.goto(link);
  assert.match(await page.textContent('h1'), new RegExp(`Nothing is listening on port ${port} yet`));
  const { createServer } = await import('node:http');
  const server = createServer((request, response) => {
    response.setHeader('content-type', 'text/html');
    response.end('<h1>here I am</h1>');
  });
  await new Promise((resolve) => server.listen(port, '127.0.0.1', resolve));
  t.after(async () => { await chrome.close(); await portico.stop(); server.close(); server.closeAllConnections(); });
  await page.waitForFunction(() => document.querySelector('h1')?.textContent === 'here I am', null, { timeout: 20_000 });
});
