// A private preview in a page of another site: real TLS, HTTP/2, two registrable domains, and browsers that keep third-party cookies or not.
import assert from 'node:assert/strict';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { hasBrowser, here, needs, serve, temporary, ticking } from './lib/portico.mjs';
import { Served, authority, hasCertutil, hasOpenssl, secureProfile } from './lib/tls.mjs';

const ZONE = 'sandbox.opendesigns.example';
const SLUG = 'brand-refresh-2026';
const ENDPOINT = '/.well-known/portico/session';
const shots = path.join(here, 'screenshots');
const font = readFileSync(path.join(here, 'node_modules/next/dist/next-devtools/server/font/geist-latin.woff2'));

// What a person can set about third-party cookies: all of them, only partitioned ones, none in this frame, no cookies anywhere.
const ALLOWED = { cookie_controls_mode: 0 };
const BLOCKED = { cookie_controls_mode: 1, block_third_party_cookies: true };
const NONE_IN_FRAME = { content_settings: { exceptions: { cookies: { [`[*.]${ZONE},https://[*.]opendesigns.test`]: { setting: 2 } } } } };
const NONE = { default_content_setting_values: { cookies: 2 } };
const MODES = { allowed: ALLOWED, blocked: BLOCKED };

// The text of a short masked frame of a visitor's.
function textOf(frame) {
  const length = frame[1] & 127;
  if (frame[0] !== 0x81 || length > 125) return null;
  return Buffer.from(frame.subarray(6, 6 + length).map((byte, index) => byte ^ frame[2 + (index % 4)])).toString();
}

// An app that has everything a page can ask for, and remembers all it was sent.
async function everything() {
  const seen = [];
  const files = {
    '/': ['text/html', `<!doctype html><title>app</title><link rel="stylesheet" href="/style.css"><h1>the app</h1><img src="/logo.svg">
      <a href="/next">next</a><script type="module" src="/app.js"></script>`],
    '/next': ['text/html', '<!doctype html><title>next</title><h1>the next page</h1>'],
    '/style.css': ['text/css', '@font-face { font-family: probe; src: url(/probe.woff2) } h1 { color: rgb(1, 2, 3); font-family: probe }'],
    '/logo.svg': ['image/svg+xml', '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>'],
    '/probe.woff2': ['font/woff2', font],
    '/app.js': ['text/javascript', `import { born } from './part.js';
      Object.assign(window, { born, ticks: 0, events: 0, ended: null });
      const socket = new WebSocket(location.origin.replace('https', 'wss') + '/socket');
      socket.onopen = () => socket.send('from the frame');
      socket.onmessage = () => { window.ticks += 1; };
      socket.onclose = ({ code, reason }) => { window.ended = { code, reason, at: Date.now() }; };
      new EventSource('/events').onmessage = () => { window.events += 1; };
      window.got = await (await fetch('/data')).json();
      window.posted = await (await fetch('/data', { method: 'POST', body: 'a body' })).json();`],
    '/part.js': ['text/javascript', 'export const born = Math.random();'],
  };
  const app = await serve((request, body) => {
    seen.push(`${request.method} ${request.url} ${JSON.stringify(request.rawHeaders)} ${body}`);
    const cookies = ['own=1; Path=/; SameSite=None; Secure; Partitioned', 'shared=1; Path=/; SameSite=None; Secure', '__Host-preview=mp_theirs; Path=/; Secure'];
    const { pathname } = new URL(request.url, 'http://app');
    if (pathname === '/data') return [200, { 'content-type': 'application/json' }, JSON.stringify({ method: request.method, body })];
    if (pathname === '/events') {
      return [200, { 'content-type': 'text/event-stream' }, (response) => {
        const timer = setInterval(() => response.write('data: x\n\n'), 100);
        response.on('close', () => clearInterval(timer));
      }];
    }
    const [type, text] = files[pathname] ?? ['text/plain', 'nothing'];
    return [files[pathname] ? 200 : 404, { 'content-type': type, 'set-cookie': cookies, 'x-frame-options': 'DENY' }, text];
  }, (request, socket) => {
    seen.push(`UPGRADE ${request.url} ${JSON.stringify(request.rawHeaders)}`);
    socket.on('data', (frame) => { if (frame[0] === 0x81) seen.push(`SOCKET ${textOf(frame)}`); });
    ticking(request, socket, 100);
  });
  return { ...app, seen, kept: () => !seen.some((each) => /mp_|__Host-preview|__preview|portico/i.test(each)) };
}

// The address of the embedding page says what is in its frame; it remembers what it is told and can do what a page can.
const HOST = `<!doctype html><title>host</title><style>body { margin: 0 } iframe { border: 0; width: 100vw; height: 100vh }</style>
<script>
  window.told = [];
  addEventListener('message', ({ origin, data }) => told.push({ origin, data }));
</script><body><script>
  const src = new URLSearchParams(location.hash.slice(1)).get('src');
  if (src) {
    document.body.innerHTML = '<iframe sandbox="allow-scripts allow-same-origin allow-forms allow-popups" allow="clipboard-read; clipboard-write"></iframe>';
    document.querySelector('iframe').src = src;
  }
</script>`;

async function scene(t, preferences, { args, ...more } = {}) {
  const tools = needs(t, hasBrowser, 'chromium') && needs(t, hasOpenssl, 'openssl') && needs(t, hasCertutil, 'certutil (libnss3-tools)');
  if (!tools) return null;
  // What was started is stopped, the last first, however far this comes.
  const started = [];
  t.after(async () => { for (const stop of started.reverse()) await stop(); });
  const folder = temporary();
  started.push(() => rmSync(folder, { recursive: true }));
  const ca = authority(folder);
  const portico = await Served.start(ZONE, ca.issue('zone', `*.${ZONE}`));
  started.push(() => portico.stop());
  const app = await everything();
  started.push(app.stop);
  const pages = ca.issue('pages', 'app.opendesigns.test', 'foreign.test');
  const host = await serve(() => [200, { 'content-type': 'text/html' }, HOST], undefined, pages.pair);
  started.push(host.stop);
  const names = ['*.opendesigns.example', '*.opendesigns.test', 'foreign.test'];
  const context = await secureProfile(ca.certificate, preferences, { names, args, ...more });
  started.push(() => context.close());
  const site = `https://app.opendesigns.test:${host.port}`;
  const foreign = `https://foreign.test:${host.port}`;
  await portico.api('PUT', '/tenant/preview-policy', { allowed_origins: [site], frame_ancestors: [site] });
  const sandbox = await preview(portico, app, SLUG);
  return { portico, app, context, site, foreign, sandbox, page: await context.newPage() };
}

// A sandbox whose port 3000 is the app, and what mints its links.
async function preview(portico, app, slug) {
  const { data } = await portico.api('POST', '/sandboxes', { name: slug, slug, upstream: { host: '127.0.0.1', ports: { 3000: app.port } } });
  const origin = `https://3000-${slug}.${ZONE}:${portico.port}`;
  const mint = async (seconds = 600) => {
    const minted = await portico.api('POST', `/sandboxes/${data.id}/preview-token`, { expires_in: seconds, scope: 'interact', port: 3000 });
    return { ...minted, link: `${origin}/?token=${minted.token}` };
  };
  const revoke = (minted) => portico.api('DELETE', `/sandboxes/${data.id}/preview-tokens/${minted.id}`);
  return { id: data.id, origin, mint, revoke };
}

// Opens a page that has something in a frame of the exact attributes, and gives the frame.
async function embed(page, site, src) {
  await page.goto(`${site}/#${new URLSearchParams({ src })}`);
  return (await page.waitForSelector('iframe')).contentFrame();
}

const waited = { timeout: 20_000 };
const runs = (frame) => frame.waitForFunction(() => window.ticks > 0 && window.events > 0 && window.posted, null, waited);
const renew = (page, to, token) => page.evaluate(([url, body]) => fetch(url, { method: 'POST', credentials: 'include', body })
  .then((reply) => reply.status, () => 'not readable'), [to + ENDPOINT, token]);
const standing = (page, to) => page.evaluate((url) => fetch(url, { credentials: 'include' }).then((reply) => reply.json()), to + ENDPOINT);

// Everything a page of a stranger's may try with a visitor's session: what the socket said and whether a POST could be read.
const attack = (frame, to) => frame.evaluate(async (origin) => {
  const socket = new WebSocket(`${origin.replace('https', 'wss')}/socket?foreign`);
  const closed = await new Promise((resolve) => {
    socket.onmessage = () => resolve('a message of the app');
    socket.onclose = ({ code, reason }) => resolve(`${code} ${reason}`);
  });
  const post = () => fetch(`${origin}/data?foreign`, { method: 'POST', credentials: 'include', mode: 'no-cors', body: 'foreign' });
  return { closed, posted: await post().then((reply) => reply.type, () => 'failed') };
}, to);

for (const [name, preferences] of Object.entries(MODES)) {
  test(`third-party cookies ${name}: an embedded preview works, is renewed, and ends when it is told to`, async (t) => {
    const log = path.join(temporary(), 'net.json');
    const there = await scene(t, preferences, { args: [`--log-net-log=${log}`] });
    if (!there) return;
    t.after(() => rmSync(path.dirname(log), { recursive: true }));
    const { app, context, page, site, sandbox } = there;
    const { origin } = sandbox;
    const first = await sandbox.mint(6);
    const began = Date.now();
    const frame = await embed(page, site, first.link);
    await runs(frame);
    assert.equal(frame.url(), `${origin}/`, 'no token stays in the address');
    // Document, script modules, style sheet, image, font, fetch, events, WebSocket.
    const found = await frame.evaluate(async () => ({
      protocol: performance.getEntriesByType('navigation')[0].nextHopProtocol,
      protocols: [...new Set(performance.getEntriesByType('resource').map((each) => each.nextHopProtocol))],
      color: getComputedStyle(document.querySelector('h1')).color,
      image: document.images[0].naturalWidth,
      fonts: (await document.fonts.load('1em probe')).map((each) => each.status),
      got: window.got,
      posted: window.posted,
      referrer: document.referrer,
      cookies: document.cookie.split('; ').sort().join('; '),
    }));
    const shared = preferences === ALLOWED;
    assert.deepEqual(found, {
      protocol: 'h2',
      protocols: ['h2'],
      color: 'rgb(1, 2, 3)',
      image: 7,
      fonts: ['loaded'],
      got: { method: 'GET', body: '' },
      posted: { method: 'POST', body: 'a body' },
      referrer: '',
      // The app's own cookies tell what the browser keeps here: the setting is what this test says it is.
      cookies: shared ? 'own=1; shared=1' : 'own=1',
    });
    const posted = app.seen.find((each) => each.startsWith('POST /data'));
    assert.ok(posted.includes('own=1') && posted.includes('shared=1') === shared, posted);
    const asked = ['GET / ', 'GET /app.js', 'GET /part.js', 'GET /style.css', 'GET /logo.svg', 'GET /probe.woff2', 'GET /data', 'GET /events',
      'UPGRADE /socket', 'SOCKET from the frame'];
    assert.deepEqual(asked.filter((each) => !app.seen.some((line) => line.startsWith(each))), []);

    // A fresh token takes over: the same document, socket and events, beyond the end of the first.
    const second = await sandbox.mint();
    const born = await frame.evaluate(() => window.born);
    assert.equal(await renew(page, origin, second.token), 204);
    assert.equal((await standing(page, origin)).valid, true);
    await page.waitForTimeout(Math.max(began + 7500 - Date.now(), 0));
    const [ticks, events] = await frame.evaluate(() => [window.ticks, window.events]);
    await frame.waitForFunction(([some, others]) => window.ticks > some + 2 && window.events > others + 2, [ticks, events], waited);
    assert.deepEqual(await frame.evaluate(() => [window.born, window.ended]), [born, null]);
    assert.equal(app.seen.filter((each) => each.startsWith('UPGRADE')).length, 1, 'the socket was opened once');

    // Navigation, and back to where the socket is.
    await frame.click('a');
    await frame.waitForFunction(() => document.title === 'next', null, waited);
    await frame.evaluate(() => { location.href = '/'; });
    await runs(frame);

    // Revocation closes the socket with a code that scripts can read.
    const revoked = Date.now();
    await sandbox.revoke(second);
    await frame.waitForFunction(() => window.ended, null, waited);
    const { at, ...ended } = await frame.evaluate(() => window.ended);
    assert.deepEqual(ended, { code: 4401, reason: 'token_revoked' });
    t.diagnostic(`revoked to closed, as the frame saw it: ${at - revoked} ms`);
    assert.ok(at - revoked < 1000, `${at - revoked} ms`);

    // The page that says so tells the page around it, which responds with a new session.
    await frame.evaluate(() => { location.href = '/next'; });
    await page.waitForFunction(() => window.told.length > 0, null, waited);
    const message = { type: 'preview:session-expired', code: 'token_revoked', sandbox: null, port: null, reason: 'revoked' };
    assert.deepEqual(await page.evaluate(() => window.told), [{ origin, data: message }]);
    const third = await sandbox.mint();
    assert.equal(await renew(page, origin, third.token), 204);
    await page.evaluate((to) => document.querySelector('iframe').contentWindow.postMessage({ type: 'preview:session-refreshed' }, to), origin);
    await frame.waitForFunction(() => document.title === 'next', null, waited);
    assert.ok(app.kept(), 'the app saw something of the session');

    // The socket shared the HTTP/2 connection (RFC 8441) instead of making one of its own.
    await context.close();
    const net = readFileSync(log, 'utf8');
    assert.ok(net.includes(':protocol: websocket'), 'the socket did not use HTTP/2');
    assert.ok(!/GET \/socket HTTP\/1\.1/.test(net), 'a socket used HTTP/1.1');
  });

  test(`third-party cookies ${name}: a foreign site can do nothing with a visitor's session`, async (t) => {
    const there = await scene(t, preferences);
    if (!there) return;
    const { app, context, page, site, foreign, sandbox } = there;
    const { origin } = sandbox;
    const { link } = await sandbox.mint();
    await runs(await embed(page, site, link));
    // A stranger's frame in the page that embeds: here the browser sends the visitor's cookie along.
    await page.evaluate((src) => {
      const stranger = document.createElement('iframe');
      Object.assign(stranger, { id: 'stranger', src });
      document.body.append(stranger);
    }, `${foreign}/`);
    const stranger = await (await page.waitForSelector('#stranger')).contentFrame();
    await stranger.waitForFunction(() => document.title === 'host', null, waited);
    assert.deepEqual(await attack(stranger, origin), { closed: '4403 foreign_origin', posted: 'opaque' });
    // And a stranger's page of its own, with a session that the visitor has in another tab.
    const tab = await context.newPage();
    await tab.goto(link);
    await runs(tab);
    const evil = await context.newPage();
    await evil.goto(`${foreign}/`);
    const { closed } = await attack(evil, origin);
    assert.ok(['4401 sign_in_needed', '4403 foreign_origin'].includes(closed), closed);
    // The browser sends the session with a form, which is a navigation.
    await evil.evaluate((action) => {
      const form = Object.assign(document.createElement('form'), { action, method: 'POST' });
      document.body.append(form);
      form.submit();
    }, `${origin}/form?foreign`);
    await evil.waitForURL(`${origin}/**`, waited);
    const { status, code } = await there.portico.line((line) => line.method === 'POST' && line.path === '/form');
    assert.deepEqual({ status, code }, { status: 403, code: 'foreign_origin' });
    // It may not show the preview, nor begin a session in it, and is told nothing.
    const framed = await embed(evil, foreign, link);
    await evil.waitForTimeout(1000);
    assert.equal(framed.url(), 'chrome-error://chromewebdata/', 'the browser refuses the frame');
    assert.equal(await renew(evil, origin, (await sandbox.mint()).token), 'not readable');
    assert.deepEqual(await evil.evaluate(() => window.told), []);
    assert.ok(!app.seen.some((each) => each.includes('foreign')), app.seen.filter((each) => each.includes('foreign')).join('\n'));
    // Nothing of it has hurt the session.
    assert.deepEqual(await tab.evaluate(() => window.ended), null);
    assert.ok(app.kept());
  });

  test(`third-party cookies ${name}: two previews of one tenant know nothing of each other's session`, async (t) => {
    const there = await scene(t, preferences);
    if (!there) return;
    const { app, context, page, portico, site, sandbox } = there;
    const other = await preview(portico, app, 'other');
    const [mine, theirs] = [await sandbox.mint(), await other.mint()];
    const frame = await embed(page, site, mine.link);
    await runs(frame);
    const plant = (where) => where.evaluate(async ([zone, token, to]) => {
      const values = ['__Host-preview', '__host-preview', 'preview', ' __Host-preview'].map((each) => `${each}=${token}`);
      for (const value of [...values, `=__Host-preview=${token}`]) {
        for (const rest of ['', '; Partitioned']) document.cookie = `${value}; Domain=${zone}; Path=/; Secure; SameSite=None${rest}`;
      }
      const renewed = await fetch(`${to}/.well-known/portico/session`, { method: 'POST', credentials: 'include', body: token })
        .then((reply) => reply.status, () => 'not readable');
      const blind = await fetch(`${to}/.well-known/portico/session?mt=${token}`, { credentials: 'include', mode: 'no-cors' })
        .then((reply) => reply.type, () => 'failed');
      const read = await fetch(`${to}/`, { credentials: 'include' }).then((reply) => reply.status, () => 'not readable');
      return { renewed, blind, read, session: document.cookie.includes('__Host') };
    }, [ZONE, theirs.token, other.origin]);
    const nothing = { renewed: 'not readable', blind: 'opaque', read: 'not readable', session: false };
    // In the frame, and in a tab of its own, where cookies of the whole site are the visitor's.
    assert.deepEqual(await plant(frame), nothing);
    assert.deepEqual(await standing(page, other.origin), { public: false, cookie: false, valid: false, expires_at: null, code: null });
    const tab = await context.newPage();
    await tab.goto(mine.link);
    await runs(tab);
    assert.deepEqual(await plant(tab), nothing);
    const reply = await tab.goto(`${other.origin}/`);
    assert.equal(reply.status(), 401, 'a session was planted');
    // With sessions in both, each keeps its own.
    await tab.goto(theirs.link);
    await runs(tab);
    await tab.goto(`${sandbox.origin}/`);
    await runs(tab);
    await plant(tab);
    const held = await Promise.all([sandbox, other].map((each) => context.cookies(`${each.origin}/`)));
    const sessions = held.map((cookies) => [...new Set(cookies.filter((cookie) => cookie.name === '__Host-preview').map((cookie) => cookie.value))]);
    assert.deepEqual(sessions, [[mine.token], [theirs.token]]);
    await other.revoke(theirs);
    assert.equal((await tab.goto(`${other.origin}/`)).status(), 401);
    assert.equal((await tab.goto(`${sandbox.origin}/`)).status(), 200);
    assert.ok(app.seen.every((each) => !each.includes(mine.token)), 'the app saw a session');
  });
}

test('a browser that keeps nothing in the frame offers a tab, and nothing goes round in circles', async (t) => {
  const there = await scene(t, NONE_IN_FRAME);
  if (!there) return;
  const { app, context, page, portico, site, sandbox } = there;
  const { link } = await sandbox.mint();
  const frame = await embed(page, site, link);
  await page.waitForFunction(() => window.told.length > 0, null, waited);
  assert.deepEqual((await page.evaluate(() => window.told)).map(({ data }) => data.code), ['cookies_blocked']);
  assert.match(await frame.textContent('h1'), /blocks cookies in embedded pages/);
  await page.waitForTimeout(2000);
  assert.deepEqual(portico.lines().filter((line) => line.path === '/').map((line) => line.status), [303, 401]);
  assert.deepEqual(app.seen, []);
  // In sizes and schemes that visitors have.
  mkdirSync(shots, { recursive: true });
  for (const colorScheme of ['light', 'dark']) {
    for (const [width, height] of [[320, 240], [1280, 800]]) {
      await page.setViewportSize({ width, height });
      await page.emulateMedia({ colorScheme });
      const over = await frame.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
      assert.ok(over <= 0, `${over} px too wide`);
      await page.screenshot({ path: path.join(shots, `cookies-blocked-${colorScheme}-${width}.png`) });
    }
  }
  // The attributes of the frame do not let it ask the browser: the button goes, the link stays, and nothing is asked again.
  await frame.click('#allow');
  await frame.waitForSelector('#allow', { state: 'hidden', ...waited });
  assert.equal(await frame.isVisible('#tab'), true);
  const opening = context.waitForEvent('page');
  await frame.click('#tab');
  const tab = await opening;
  await runs(tab);
  assert.equal(tab.url(), `${sandbox.origin}/`);
  assert.ok(app.kept());
});

test('a browser that keeps no cookies at all is told so after one redirect, in the frame and in a tab', async (t) => {
  const there = await scene(t, NONE);
  if (!there) return;
  const { app, context, page, portico, site, sandbox } = there;
  const { link } = await sandbox.mint();
  const frame = await embed(page, site, link);
  await frame.waitForSelector('#tab:not([hidden])', waited);
  const opening = context.waitForEvent('page');
  await frame.click('#tab');
  const tab = await opening;
  await tab.waitForFunction(() => document.querySelector('h1'), null, waited);
  await tab.waitForTimeout(2000);
  t.diagnostic(await tab.textContent('main'));
  assert.equal(await tab.textContent('h1'), 'Your browser blocks cookies here');
  assert.deepEqual(portico.lines().filter((line) => line.path === '/').map((line) => line.status), [303, 401, 303, 401]);
  assert.deepEqual(app.seen, []);
});
