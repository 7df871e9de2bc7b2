// A Vite dev server with hot reload, by https and HTTP/2 with the authority that `portico dev` makes for its machine.
import assert from 'node:assert/strict';
import { cpSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, app, freePort, hasBrowser, here, needs, temporary } from './lib/portico.mjs';
import { hasCertutil, secureProfile } from './lib/tls.mjs';

const tools = (t) => needs(t, hasBrowser, 'chromium') && needs(t, hasCertutil, 'certutil (libnss3-tools)');

test('an edit shows in the page without a reload by https', async (t) => {
  if (!tools(t)) return;
  // Below this folder, so that the packages are found.
  const work = path.join(here, '.work/vite-https');
  rmSync(work, { recursive: true, force: true });
  cpSync(path.join(here, 'fixtures/vite'), work, { recursive: true });
  const port = await freePort();
  const vite = path.join(here, 'node_modules/vite/bin/vite.js');
  const server = await app(process.execPath, [vite, '--port', String(port), '--strictPort', '--host', '127.0.0.1'], { port, cwd: work });
  const portico = await Portico.start();
  const log = path.join(temporary(), 'net.json');
  const context = await secureProfile(portico.facts.ca, {}, { args: [`--log-net-log=${log}`] });
  t.after(async () => {
    await context.close();
    await portico.stop();
    await server.stop();
    rmSync(path.dirname(log), { recursive: true });
  });
  const { host, token } = await portico.preview('vite', port);
  const { port: secure } = new URL(portico.facts.https_url);
  const page = await context.newPage();
  await page.goto(`https://${new URL(`http://${host}`).hostname}:${secure}/?mt=${token}`);
  await page.waitForFunction(() => document.getElementById('text').textContent === 'before', null, { timeout: 20_000 });
  assert.equal(await page.evaluate(() => performance.getEntriesByType('navigation')[0].nextHopProtocol), 'h2');
  const since = await page.textContent('#since');
  await page.waitForTimeout(500);
  writeFileSync(path.join(work, 'text.js'), "export const text = 'after';\n");
  await page.waitForFunction(() => document.getElementById('text').textContent === 'after', null, { timeout: 20_000 });
  assert.equal(await page.textContent('#since'), since, 'the page was reloaded');
  await context.close();
  assert.ok(readFileSync(log, 'utf8').includes(':protocol: websocket'), 'the socket did not use HTTP/2');
});

test('the printed https link shows every kind of traffic working', async (t) => {
  if (!tools(t)) return;
  const portico = await Portico.start();
  const context = await secureProfile(portico.facts.ca, {}, { viewport: { width: 1280, height: 800 } });
  t.after(async () => { await context.close(); await portico.stop(); });
  const page = await context.newPage();
  const errors = [];
  page.on('console', (message) => message.type() === 'error' && errors.push(message.text()));
  page.on('pageerror', (error) => errors.push(String(error)));
  await page.goto(portico.facts.https_url);
  await page.waitForFunction((wanted) => document.body.dataset.ready === wanted, 'page script style fetch sse websocket', { timeout: 20_000 });
  assert.equal(new URL(page.url()).search, '', 'the address is clean');
  const seen = await page.textContent('#headers');
  assert.ok(!seen.includes('mp_') && !seen.includes('__Host-'), `the app saw a credential: ${seen}`);
  assert.ok(seen.includes('x-forwarded-proto: https'), seen);
  const protocols = await page.evaluate(() => performance.getEntries().map((each) => each.nextHopProtocol).filter(Boolean));
  assert.deepEqual([...new Set(protocols)], ['h2']);
  const shots = path.join(here, 'screenshots');
  mkdirSync(shots, { recursive: true });
  await page.screenshot({ path: path.join(shots, 'demo-https.png') });
  assert.deepEqual(errors, []);
});
