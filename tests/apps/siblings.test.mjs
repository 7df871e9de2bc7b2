// What one preview can do to another below the same zone, in a real browser: nothing. To a browser all of them are one site, and it sends the
// visitor's session along with whatever a page of one asks of another. None of this rests on the Public Suffix List.
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Portico, browser, hasBrowser, needs, serve, ticking } from './lib/portico.mjs';

const SECRET = 'victims-secret';

// An app whose every answer holds a secret, and that notes what reached it by which path.
async function victimApp() {
  const reached = [];
  const types = { '/app.js': 'text/javascript', '/style.css': 'text/css', '/pic.svg': 'image/svg+xml', '/api': 'application/json', '/sw.js': 'text/javascript' };
  const bodies = {
    '/app.js': `window.stolen = '${SECRET}'; document.title = 'stole ${SECRET}';`,
    '/style.css': `body { --stolen: ${SECRET}; }`,
    '/pic.svg': '<svg xmlns="http://www.w3.org/2000/svg" width="7" height="7"/>',
    '/api': JSON.stringify({ secret: SECRET }),
    '/sw.js': 'self.addEventListener("fetch", () => {});',
  };
  const there = await serve(({ url, headers }) => {
    const { pathname } = new URL(url, 'http://x');
    reached.push({ pathname, cookie: headers.cookie ?? '', origin: headers.origin });
    // As many development servers do it: whoever asks may read.
    const shared = headers.origin ? { 'access-control-allow-origin': headers.origin, 'access-control-allow-credentials': 'true' } : {};
    const page = `<!doctype html><title>victim</title><h1>${SECRET}</h1>`;
    return [200, { 'content-type': types[pathname] ?? 'text/html', 'cache-control': 'max-age=600', ...shared }, bodies[pathname] ?? page];
  }, (request, socket) => {
    reached.push({ pathname: 'socket' });
    ticking(request, socket);
  });
  return { ...there, reached };
}

// What a page tries, and what it got. Everything is a word, so that one look shows what worked.
function attacks({ victim, short }) {
  const wait = (milliseconds) => new Promise((resolve) => { setTimeout(resolve, milliseconds); });
  const element = (name, attributes) => new Promise((resolve) => {
    const made = Object.assign(document.createElement(name), attributes);
    made.onload = () => resolve('loaded');
    made.onerror = () => resolve('error');
    document.head.append(made);
    setTimeout(() => resolve('silent'), 4000);
  });
  const read = async (mode, credentials) => {
    try {
      const reply = await fetch(`${victim}/api`, { mode, credentials });
      return reply.type === 'opaque' ? 'opaque' : (await reply.text()).includes('victims-secret') ? 'read' : `${reply.status}`;
    } catch {
      return 'error';
    }
  };
  const frame = async () => {
    const made = document.createElement('iframe');
    made.src = `${victim}/framed`;
    const loaded = new Promise((resolve) => { made.onload = resolve; setTimeout(resolve, 3000); });
    document.body.append(made);
    await loaded;
    try {
      return made.contentDocument?.body?.innerText.includes('victims-secret') ? 'read' : 'closed';
    } catch {
      return 'closed';
    }
  };
  const socket = () => new Promise((resolve) => {
    const made = new WebSocket(`${victim.replace('http', 'ws')}/socket`);
    made.onmessage = () => resolve('open');
    made.onclose = (event) => resolve(`${event.code}`);
    setTimeout(() => resolve('silent'), 4000);
  });
  return (async () => {
    const results = {
      script: await element('script', { src: `${victim}/app.js` }),
      module: await element('script', { src: `${victim}/app.js?module`, type: 'module', crossOrigin: 'use-credentials' }),
      quietScript: await element('script', { src: `${victim}/app.js?quiet`, referrerPolicy: 'no-referrer' }),
      style: await element('link', { rel: 'stylesheet', href: `${victim}/style.css` }),
      image: await element('img', { src: `${victim}/pic.svg` }),
      cors: await read('cors', 'include'),
      noCors: await read('no-cors', 'include'),
      frame: await frame(),
      socket: await socket(),
      worker: await navigator.serviceWorker.register(`${victim}/sw.js`).then(() => 'registered', () => 'error'),
      replaced: await element('img', { src: `${victim}/pic.svg?mt=${short}` }),
      stolen: window.stolen ?? 'nothing',
    };
    // Cookies for the parent of both, and an answer that wants all of them gone.
    document.cookie = `__Host-preview=planted; Domain=${location.hostname.split('.').slice(1).join('.')}; Path=/; Secure`;
    document.cookie = `preview=mp_planted; Domain=${location.hostname.split('.').slice(1).join('.')}; Path=/`;
    await fetch('/evict', { cache: 'no-store' });
    await wait(200);
    return results;
  })();
}

test('a preview can do nothing with a visitor\'s session in another below the same zone', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const [portico, chrome, app] = [await Portico.start(), await browser(), await victimApp()];
  const mallory = await serve(({ url }) => [200, {
    'content-type': 'text/html', ...(url.startsWith('/evict') ? { 'clear-site-data': '"cookies", "*"' } : {}),
  }, '<!doctype html><title>mallory</title><body></body>']);
  t.after(async () => { await chrome.close(); await portico.stop(); await app.stop(); await mallory.stop(); });
  const victim = await portico.preview('victim', app.port);
  const evil = await portico.preview('mallory', mallory.port);
  const short = await portico.api('POST', `/sandboxes/${victim.id}/preview-token`, { expires_in: 60, scope: 'interact', port: app.port });

  const context = await chrome.newContext();
  const tab = await context.newPage();
  await tab.goto(victim.link);
  assert.equal(await tab.textContent('h1'), SECRET);
  // What its own page has loaded is in the browser's cache, which all previews of the zone share.
  await tab.evaluate(async () => { for (const path of ['/app.js', '/style.css', '/api']) await fetch(path); });
  const session = async () => (await context.cookies(`http://${victim.host}/`)).filter(({ name }) => name === '__Host-preview').map(({ value }) => value);
  const before = await session();
  assert.equal(before.length, 1);
  app.reached.length = 0;

  const page = await context.newPage();
  await page.goto(evil.link);
  const got = await page.evaluate(attacks, { victim: `http://${victim.host}`, short: short.token });
  assert.equal(await page.title(), 'mallory', JSON.stringify(got));
  const { socket, replaced, ...rest } = got;
  assert.deepEqual(rest, {
    script: 'error', module: 'error', quietScript: 'error', style: 'error', image: 'error', cors: 'error', noCors: rest.noCors, frame: 'closed',
    worker: 'error', stolen: 'nothing',
  });
  assert.ok(['opaque', 'error'].includes(rest.noCors), rest.noCors);
  assert.ok(['4403', '4401', '1006'].includes(socket), socket);
  assert.ok(['loaded', 'error'].includes(replaced), replaced);
  // But for the link with a token of its own, which opens what it opens, nothing has reached the app.
  const unasked = app.reached.filter(({ pathname }) => pathname !== '/pic.svg');
  assert.deepEqual(unasked, [], JSON.stringify(app.reached));
  assert.deepEqual(await session(), before, 'the session is the same as before');
  await tab.reload();
  assert.equal(await tab.textContent('h1'), SECRET, 'and it still opens the preview');
});

test('what an app left in a browser is gone when its name is somebody else\'s', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  const [portico, chrome] = [await Portico.start(), await browser()];
  const [seen, state] = [[], { title: 'first' }];
  const app = await serve(({ url, headers }) => {
    seen.push(headers.cookie ?? '');
    if (url === '/sw.js') {
      const worker = 'self.addEventListener("install", () => self.skipWaiting()); self.addEventListener("activate", (event) => event.waitUntil(clients.claim()));' +
        'self.addEventListener("fetch", (event) => { if (event.request.mode === "navigate") event.respondWith(new Response("<title>the former one</title>", { headers: { "content-type": "text/html" } })); });';
      return [200, { 'content-type': 'text/javascript', 'cache-control': 'no-cache' }, worker];
    }
    return [200, { 'content-type': 'text/html' }, `<!doctype html><title>${state.title}</title>`];
  });
  t.after(async () => { await chrome.close(); await portico.stop(); await app.stop(); });
  const create = async (user) => {
    const { data } = await portico.api('POST', '/sandboxes', { slug: 'desk', external_user_id: user });
    await portico.api('POST', `/sandboxes/${data.id}/previews`, { port: app.port, visibility: 'public' });
    return data.id;
  };
  const first = await create('user-1');
  const address = `http://${app.port}-desk.${portico.facts.zone}:${portico.port}/`;
  const context = await chrome.newContext();
  const page = await context.newPage();
  await page.goto(address);
  await page.evaluate(async () => {
    localStorage.setItem('secret', 'the first one\'s');
    document.cookie = 'sid=first; Path=/; Max-Age=9999';
    await navigator.serviceWorker.register('/sw.js');
    await navigator.serviceWorker.ready;
  });
  await page.goto(address);
  assert.equal(await page.title(), 'the former one', 'the worker responds in the place of the app');
  await portico.api('DELETE', `/sandboxes/${first}`);
  state.title = 'second';
  await create('user-2');
  seen.length = 0;
  // The browser looks for a new version of the worker as it opens the page; what it is told then takes the worker away.
  for (let tries = 0; tries < 20 && (await page.title()) !== 'second'; tries += 1) {
    await page.waitForTimeout(250);
    await page.goto(address);
  }
  assert.equal(await page.title(), 'second');
  assert.deepEqual(await page.evaluate(() => [localStorage.getItem('secret'), document.cookie]), [null, '']);
  assert.ok(seen.every((cookie) => !cookie.includes('sid=first')), `${seen}`);
  await page.evaluate(() => localStorage.setItem('own', 'kept'));
  await page.goto(address);
  assert.equal(await page.evaluate(() => localStorage.getItem('own')), 'kept', 'it happens once');
});
