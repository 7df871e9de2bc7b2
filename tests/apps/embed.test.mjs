// A page that embeds a private preview of another site with the script that the API serves.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync, readFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { gzipSync } from 'node:zlib';
import { Portico, hasBrowser, here, needs, profile, serve, ticking } from './lib/portico.mjs';

// Third-party cookies: all of them, only partitioned ones, none in a frame of the host page.
const ALL = { cookie_controls_mode: 0 };
const PARTITIONED = { cookie_controls_mode: 1, block_third_party_cookies: true };
const NONE = { content_settings: { exceptions: { cookies: { '[*.]sandbox.localhost,http://127.0.0.1': { setting: 2 } } } } };

// An app that refuses every frame, as frameworks do, and remembers what it was sent.
async function framed() {
  const seen = [];
  const pages = {
    '/': `<title>app</title><h1>the app</h1><a href="/next">next</a><link rel="stylesheet" href="/style.css"><img src="/logo.svg">
          <script type="module" src="/app.js"></script>`,
    '/next': '<title>next</title><h1>the next page</h1>',
  };
  const app = await serve((request, body) => {
    seen.push(`${request.method} ${request.url} ${JSON.stringify(request.headers)} ${body}`);
    const { pathname } = new URL(request.url, 'http://app');
    const kinds = { '/app.js': 'text/javascript', '/style.css': 'text/css', '/logo.svg': 'image/svg+xml', '/data': 'application/json' };
    const bodies = {
      '/app.js': `window.born = Math.random(); window.ticks = 0; window.ended = null;
        const socket = new WebSocket(location.origin.replace('http', 'ws') + '/socket');
        socket.onmessage = () => { window.ticks += 1; };
        socket.onclose = (event) => { window.ended = event.code; };
        const data = await fetch('/data', {method: 'POST', body: 'x'});
        window.posted = (await data.json()).got;`,
      '/style.css': 'h1 { color: rgb(1, 2, 3) }',
      '/logo.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>',
      '/data': JSON.stringify({ got: body }),
    };
    return [pages[pathname] || bodies[pathname] ? 200 : 404, {
      'content-type': kinds[pathname] ?? 'text/html',
      'x-frame-options': 'DENY',
      'content-security-policy': "img-src 'self'; frame-ancestors 'none'",
      'set-cookie': ['own=1; SameSite=None; Secure; Partitioned', 'shared=1; SameSite=None; Secure'],
    }, pages[pathname] ?? bodies[pathname] ?? 'nothing'];
  }, (request, socket) => {
    seen.push(`UPGRADE ${request.url} ${JSON.stringify(request.headers)}`);
    ticking(request, socket);
  });
  return { ...app, seen };
}

// A customer's site: a page with the script, and a backend that mints links.
async function site(portico, sandbox, { port, expiresIn }) {
  const minted = [];
  const host = await serve(async (request) => {
    if (request.url === '/link') {
      const body = { expires_in: expiresIn, scope: 'interact', port };
      const link = await portico.api('POST', `/sandboxes/${sandbox.id}/preview-token`, body);
      minted.push(link);
      return [200, { 'content-type': 'application/json' }, JSON.stringify(link)];
    }
    return [200, { 'content-type': 'text/html' }, `<!doctype html><title>host</title><style>iframe { width: 40rem; height: 25rem }</style><div id="here"></div><script type="module">
      import { mount } from '${portico.facts.api_url}/embed/v1/portico-embed.js';
      window.told = [];
      const note = (what) => (detail) => window.told.push([what, detail.code ?? detail.expiresAt?.toISOString() ?? null, detail.message ?? null]);
      window.embed = mount('#here', {
        getUrl: async () => (await fetch('/link')).json(),
        title: 'Brand refresh',
        onError: note('error'), onExpired: note('expired'), onRefresh: note('refresh'),
      });
    </script>`];
  });
  return { ...host, minted, url: `http://127.0.0.1:${host.port}/` };
}

async function scene(t, preferences, { expiresIn = 600, args } = {}) {
  const portico = await Portico.start();
  const app = await framed();
  const sandbox = (await portico.api('POST', '/sandboxes', { name: 'framed', slug: 'framed' })).data;
  const host = await site(portico, sandbox, { port: app.port, expiresIn });
  const context = await profile(preferences, { args });
  t.after(async () => { await context.close(); await host.stop(); await app.stop(); await portico.stop(); });
  const page = await context.newPage();
  const origin = `http://${app.port}-framed.${portico.facts.zone}:${portico.port}`;
  return { portico, app, sandbox, host, context, page, origin };
}

async function frameOf(page) {
  const element = await page.waitForSelector('iframe');
  return element.contentFrame();
}

const said = (page, what) => page.evaluate((name) => window.told.filter(([kind]) => kind === name), what);
const once = (page, what) => page.waitForFunction((name) => window.told.some(([kind]) => kind === name), what, { timeout: 20_000 });

for (const [name, preferences] of Object.entries({ allowed: ALL, 'partitioned only': PARTITIONED })) {
  test(`an embedded app works and its session is renewed under it; third-party cookies: ${name}`, async (t) => {
    if (!needs(t, hasBrowser, 'chromium')) return;
    const { app, host, page, origin } = await scene(t, preferences, { expiresIn: 8 });
    await page.goto(host.url);
    const frame = await frameOf(page);
    await frame.waitForFunction(() => window.ticks > 0 && window.posted === 'x', null, { timeout: 20_000 });
    assert.equal(frame.url(), `${origin}/`, 'no token stays in the address');
    assert.equal(await frame.evaluate(() => getComputedStyle(document.querySelector('h1')).color), 'rgb(1, 2, 3)');
    assert.equal(await frame.evaluate(() => document.images[0].naturalWidth), 7);
    const attributes = await page.$eval('iframe', (iframe) => ['sandbox', 'allow', 'title'].map((each) => iframe.getAttribute(each)));
    assert.deepEqual(attributes, ['allow-scripts allow-same-origin allow-forms allow-popups', 'clipboard-read; clipboard-write', 'Brand refresh']);
    // What the app's own cookies tell of the browser: its settings are what this test says they are.
    const posted = app.seen.find((each) => each.startsWith('POST /data'));
    assert.ok(posted.includes('own=1'), posted);
    assert.equal(posted.includes('shared=1'), preferences === ALL, posted);
    // Past the first token's end and the second's: the same document, the same socket.
    const born = await frame.evaluate(() => window.born);
    await page.waitForFunction(() => window.told.filter(([kind]) => kind === 'refresh').length >= 3, null, { timeout: 30_000 });
    const ticks = await frame.evaluate(() => window.ticks);
    await frame.waitForFunction((before) => window.ticks > before, ticks);
    assert.equal(await frame.evaluate(() => window.born), born, 'the frame was reloaded');
    assert.equal(await frame.evaluate(() => window.ended), null, 'the socket was closed');
    assert.deepEqual((await page.evaluate(() => window.told)).filter(([kind]) => kind !== 'refresh'), []);
    // Navigation inside the frame, under the renewed session.
    await frame.click('a');
    await frame.waitForFunction(() => document.title === 'next');
    assert.ok(!app.seen.some((each) => /mp_|__Host-preview|portico/.test(each)), app.seen.join('\n'));
    await page.evaluate(() => window.embed.destroy());
    assert.equal(await page.locator('iframe').count(), 0);
  });
}

test('a session that was revoked is told to the page, and another is begun where the visitor was', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const { portico, sandbox, host, page, origin } = await scene(t, PARTITIONED);
  await page.goto(host.url);
  const frame = await frameOf(page);
  await frame.waitForFunction(() => window.ticks > 0);
  await portico.api('DELETE', `/sandboxes/${sandbox.id}/preview-tokens/${host.minted[0].id}`);
  await frame.waitForFunction(() => window.ended === 4401);
  await frame.evaluate(() => { location.href = '/next'; });
  await once(page, 'expired');
  await frame.waitForFunction(() => document.title === 'next', null, { timeout: 20_000 });
  assert.equal(frame.url(), `${origin}/next`);
  assert.deepEqual((await said(page, 'expired')).map(([, code]) => code), ['token_revoked']);
  assert.equal((await said(page, 'refresh')).length, 1);
  assert.deepEqual(await said(page, 'error'), []);
  assert.equal(host.minted.length, 2);
});

test('a browser that keeps no cookies in the frame is offered a way that works', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const { app, host, context, page, origin } = await scene(t, NONE);
  await page.goto(host.url);
  await once(page, 'error');
  const frame = await frameOf(page);
  assert.match(await frame.textContent('h1'), /blocks cookies in embedded pages/);
  assert.deepEqual((await said(page, 'error')).map(([, code]) => code), ['cookies_blocked']);
  assert.equal(await frame.isVisible('#allow'), true);
  assert.ok(!app.seen.some((each) => each.includes('mp_')));
  const shots = path.join(here, 'screenshots');
  mkdirSync(shots, { recursive: true });
  await page.locator('iframe').screenshot({ path: path.join(shots, 'cookies-blocked.png') });
  // Nothing goes round in circles meanwhile.
  const { length } = host.minted;
  await page.waitForTimeout(3000);
  assert.equal(host.minted.length, length);
  const opening = context.waitForEvent('page');
  await frame.click('#tab');
  const tab = await opening;
  await tab.waitForFunction(() => document.title === 'app');
  assert.equal(tab.url(), `${origin}/`);
});

test('a site that may not embed sees nothing and changes nothing', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const { portico, app, sandbox, host, page, origin } = await scene(t, ALL, { args: ['--host-resolver-rules=MAP evil.example 127.0.0.1'] });
  // A session that works: all cookies are kept, so it comes along from everywhere.
  await page.goto(host.url);
  const frame = await frameOf(page);
  await frame.waitForFunction(() => window.ticks > 0);
  const { token, url } = await portico.api('POST', `/sandboxes/${sandbox.id}/preview-token`, { scope: 'interact', port: app.port });
  const evil = await serve(() => [200, { 'content-type': 'text/html' }, `<title>evil</title><iframe src="${url}"></iframe>`]);
  t.after(() => evil.stop());
  await page.goto(`http://evil.example:${evil.port}/`);
  await page.waitForFunction(() => document.querySelector('iframe'));
  const messages = await page.evaluate(async ([to, secret]) => {
    const told = [];
    window.addEventListener('message', (event) => told.push(event.data));
    const renewal = await fetch(`${to}/.well-known/portico/session`, { method: 'POST', credentials: 'include', body: secret })
      .then((response) => response.status, () => 'not readable');
    const socket = new WebSocket(`${to.replace('http', 'ws')}/socket`);
    const code = await new Promise((resolve) => { socket.onclose = (event) => resolve(event.code); });
    return { told, renewal, code };
  }, [origin, token]);
  assert.equal(messages.renewal, 'not readable');
  assert.ok([4401, 4403].includes(messages.code), `${messages.code}`);
  assert.deepEqual(messages.told, []);
  const inner = await frameOf(page);
  assert.equal(inner.url(), 'chrome-error://chromewebdata/', 'the browser refuses the frame');
});

test('the script is small, cacheable and fits its types', async (t) => {
  const portico = await Portico.start();
  t.after(() => portico.stop());
  const at = `${portico.facts.api_url}/embed/v1/portico-embed`;
  const script = await fetch(`${at}.js`);
  assert.equal(script.status, 200);
  assert.equal(script.headers.get('content-type'), 'text/javascript; charset=utf-8');
  const text = await script.text();
  const size = gzipSync(text, { level: 6 }).length;
  t.diagnostic(`${size} bytes with gzip`);
  assert.ok(size < 4096, `${size}`);
  const source = path.join(here, '../../embed');
  assert.equal(text, readFileSync(path.join(source, 'portico-embed.js'), 'utf8'));
  const types = await fetch(`${at}.d.ts`);
  assert.equal(await types.text(), readFileSync(path.join(source, 'portico-embed.d.ts'), 'utf8'));
  const tsc = path.join(here, 'node_modules/typescript/bin/tsc');
  const options = ['--noEmit', '--strict', '--target', 'es2022', '--module', 'nodenext', '--lib', 'es2022,dom,dom.iterable'];
  // What a page would write in TypeScript, mistakes included; then the script itself.
  execFileSync(process.execPath, [tsc, ...options, path.join(here, 'fixtures/embed/page.mts')], { stdio: 'inherit' });
  execFileSync(process.execPath, [tsc, ...options, '--allowJs', '--checkJs', path.join(source, 'portico-embed.js')], { stdio: 'inherit' });
});
