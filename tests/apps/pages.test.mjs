// The pages of ours in a browser: nothing overflows, nothing is blocked, nothing hostile works, in every size and scheme.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync, readdirSync, rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, browser, freePort, hasBrowser, here, needs, temporary } from './lib/portico.mjs';

const LONG = 'OpenDesigns Workspaces for Brand Studios and Their Clients 60';
const SIZES = [{ width: 320, height: 240 }, { width: 1280, height: 800 }, { width: 1920, height: 1080 }];

const shots = path.join(here, 'screenshots');

// The only thing a page may ask for beside itself.
async function logo(context) {
  await context.route('https://cdn.opendesigns.example/**', (route) => route.fulfill({
    contentType: 'image/svg+xml',
    body: '<svg xmlns="http://www.w3.org/2000/svg" width="160" height="40"><rect width="160" height="40" rx="8" fill="#e4572e"/></svg>',
  }));
}

// Opens a page of ours, and nothing may be wrong with it.
async function look(context, url, what) {
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && !/status of \d+/.test(message.text()) && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  page.on('dialog', (dialog) => { errors.push('a dialog'); dialog.dismiss(); });
  const reply = await page.goto(url);
  const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
  assert.ok(wide <= 0, `${what} is ${wide} px too wide`);
  // The card uses the room there is.
  const room = await page.evaluate(() => [document.querySelector('main').offsetWidth, innerWidth]);
  if (room[1] >= 1280) assert.ok(room[0] >= room[1] * 0.45, `${what}: ${room}`);
  assert.notEqual(await page.title(), 'owned', what);
  assert.equal(await page.locator('h1').count(), 1, what);
  assert.equal(await page.locator('script').count(), await page.locator('script:not([src])').count(), what);
  assert.equal(await page.locator('footer script, footer img').count(), 0, what);
  assert.deepEqual(errors, [], what);
  const text = (await page.content()).toLowerCase();
  assert.ok(!text.includes('portico') && !text.includes('miosa'), what);
  await page.screenshot({ path: path.join(shots, `${what}.png`) });
  await page.close();
  return reply.status();
}

// Every page there is, as the gallery renders it, also in a face that the API would never have let in.
test('every page can be looked at, whatever is stored as the tenant\'s face', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const rendered = temporary();
  const cargo = ['test', '--quiet', '--lib', 'listen::tests::every_face_is_a_page'];
  execFileSync('cargo', cargo, { cwd: path.join(here, '../..'), env: { ...process.env, PORTICO_FACES: rendered }, stdio: ['ignore', 'ignore', 'inherit'] });
  const pages = readdirSync(rendered).map((file) => [path.basename(file, '.json'), JSON.parse(readFileSync(path.join(rendered, file), 'utf8'))]);
  rmSync(rendered, { recursive: true });
  const statuses = new Set(pages.map(([, page]) => page.status));
  for (const status of [400, 401, 403, 404, 408, 410, 414, 429, 431, 502, 503, 504]) assert.ok(statuses.has(status), `no page with ${status}`);
  const chrome = await browser();
  t.after(() => chrome.close());
  mkdirSync(shots, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of SIZES) {
      const context = await chrome.newContext({ viewport, colorScheme });
      await logo(context);
      await context.route('http://face.localhost/**', (route) => {
        const [, page] = pages.find(([name]) => name === new URL(route.request().url()).pathname.slice(1));
        return route.fulfill(page);
      });
      const seen = new Set();
      for (const [name, page] of pages) {
        // One page of each status and face in all sizes and schemes; of the others that which is hardest to get right.
        const kind = `${page.status}-${name.split('-').at(-1)}`;
        if (seen.has(kind) && !(name.endsWith('-hostile') && viewport.width < 400 && colorScheme === 'light')) continue;
        seen.add(kind);
        const status = await look(context, `http://face.localhost/${name}`, `${name}-${colorScheme}-${viewport.width}`);
        assert.equal(status, page.status, name);
      }
      await context.close();
    }
  }
});

test('pages fit, keep to their policy and wear the tenant\'s face', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); });
  mkdirSync(shots, { recursive: true });
  const dead = await portico.preview('dead', await freePort());
  const stopped = await portico.preview('stopped', 3000);
  await portico.api('POST', `/sandboxes/${stopped.id}/stop`, {});
  const paused = await portico.preview('paused', 3000);
  await portico.api('POST', `/sandboxes/${paused.id}/pause`, {});
  const brief = await portico.api('POST', `/sandboxes/${dead.id}/shares`, { expires_in: 1 });
  const revoked = await portico.api('POST', `/sandboxes/${dead.id}/shares`, {});
  await portico.api('DELETE', `/sandboxes/${dead.id}/shares/${revoked.share_id}`);
  await new Promise((resolve) => setTimeout(resolve, 1_100));
  const port = portico.port;
  portico.operate('domain', 'add', 'opendesigns.localhost', '--tenant', 'dev');
  const pages = {
    'not-found': `http://nope.${portico.facts.zone}:${port}/`,
    'not-found-own-zone': `http://nope.sandbox.opendesigns.localhost:${port}/`,
    'sign-in': `http://${dead.host}/private`,
    invalid: `http://${dead.host}/?mt=mp_nonsense`,
    'nothing-listening': dead.link,
    'bad-host': `http://3000_dead.${portico.facts.zone}:${port}/`,
    'wrong-port': `http://1-dead.${portico.facts.zone}:${port}/?mt=${dead.token}`,
    stopped: stopped.link,
    paused: paused.link,
    'share-revoked': revoked.share_url,
    'share-expired': brief.share_url,
  };
  const statuses = {
    'not-found': 404, 'not-found-own-zone': 404, 'sign-in': 401, invalid: 401, 'nothing-listening': 502, 'bad-host': 400, 'wrong-port': 403, stopped: 503, paused: 503, 'share-revoked': 403, 'share-expired': 410,
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
        await logo(context);
        for (const [name, url] of Object.entries(pages)) {
          const status = await look(context, url, `${name}-${face}-${colorScheme}-${viewport.width}`);
          assert.equal(status, statuses[name], name);
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
