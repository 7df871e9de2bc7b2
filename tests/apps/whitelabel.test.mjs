// The white-label example, in both languages, clicked through as its customers would.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { binary, browser, freePort, hasBrowser, here, needs, temporary } from './lib/portico.mjs';

const example = path.join(here, '../../examples/whitelabel-saas');

// The example's one command, on ports of its own.
async function open(language, data, ports) {
  const options = ['--port', '--https-port', '--api-port', '--admin-port'].map((name) => `${name} 0`).join(' ');
  const child = spawn(path.join(example, 'run'), [language], {
    env: {
      ...process.env, ...ports, PORTICO_BIN: binary, PORTICO_OPTIONS: `${options} --log warn`, OPENDESIGNS_DATA: data,
      OPENDESIGNS_VENV: path.join(here, '.work/whitelabel-venv'),
    },
    stdio: ['ignore', 'pipe', 'inherit'],
    detached: true,
  });
  const told = [];
  const url = await new Promise((resolve, reject) => {
    let rest = '';
    child.stdout.on('data', (chunk) => {
      const lines = (rest + chunk).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        told.push(line);
        if (line.startsWith('OpenDesigns: ')) resolve(line.slice('OpenDesigns: '.length));
      }
    });
    child.on('exit', (code) => reject(new Error(`the example ended with ${code}: ${told.join('\n')}`)));
  });
  const ended = new Promise((resolve) => child.on('exit', resolve));
  const stop = async () => {
    process.kill(-child.pid, 'SIGTERM');
    await ended;
  };
  return { url, setUp: told.filter((line) => line.startsWith('set-up: ')), stop };
}

for (const language of ['python', 'node']) {
  test(`OpenDesigns in ${language}: from sign-up to the last link`, { timeout: 240_000 }, async (t) => {
    if (!needs(t, hasBrowser, 'chromium')) return;
    mkdirSync(path.join(here, '.work'), { recursive: true });
    const data = temporary();
    const ports = { PORT: await freePort(), WORKSPACE_PORT: await freePort() };
    let running = await open(language, data, ports);
    const chrome = await browser();
    t.after(async () => {
      await chrome.close();
      await running.stop();
      rmSync(data, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
    });
    assert.deepEqual(running.setUp.map((line) => line.slice(8)), [
      'branding set', 'opendesigns.localhost registered', 'opendesigns.localhost verified', 'webhook registered',
    ]);

    const page = await chrome.newPage({ viewport: { width: 1280, height: 800 } });
    const errors = [];
    page.on('pageerror', (error) => errors.push(String(error)));
    const picture = (name, of = page) => of.screenshot({ path: path.join(here, `screenshots/whitelabel-${name}-${language}.png`) });
    const canvas = (host) => page.waitForFunction((wanted) => {
      const frame = document.querySelector('#preview iframe');
      return frame && document.getElementById('address').textContent.startsWith(wanted);
    }, host).then(async () => {
      const frame = await (await page.waitForSelector('#preview iframe')).contentFrame();
      await frame.waitForFunction(() => document.body.dataset.strokes);
      return frame;
    });

    // Sign-up provisions; the iframe shows the project on OpenDesigns' own domain.
    await page.goto(running.url);
    await page.fill('#sign-up [name=name]', 'Ada Lovelace');
    await page.click('#sign-up button');
    const first = `${ports.WORKSPACE_PORT}-brand-refresh-2026.sandbox.opendesigns.localhost`;
    let frame = await canvas(first);
    assert.equal(new URL(frame.url()).hostname, first);
    assert.equal(new URL(frame.url()).search, '', 'no token stays in the address');
    assert.equal(await frame.textContent('#name'), 'brand-refresh-2026');
    for (const one of [page, frame]) assert.equal(await one.locator('link[rel=icon]').count(), 1, 'no request for /favicon.ico');
    // It can be worked in.
    const box = await (await page.$('#preview iframe')).boundingBox();
    await page.mouse.move(box.x + 200, box.y + 300);
    await page.mouse.down();
    await page.mouse.move(box.x + 320, box.y + 340, { steps: 5 });
    await page.mouse.up();
    assert.equal(await frame.evaluate(() => document.body.dataset.strokes), '3');
    await page.waitForFunction(() => document.getElementById('events').textContent.includes('sandbox.created'), null, { timeout: 20_000 });
    await picture('work');
    // On a phone the project's name is whole.
    await page.setViewportSize({ width: 390, height: 844 });
    const name = await page.locator('#projects button').evaluate((one) => [one.scrollWidth - one.clientWidth, one.getBoundingClientRect().right]);
    assert.ok(name[0] <= 0 && name[1] <= 390, `${name}`);
    await picture('phone');
    await page.setViewportSize({ width: 1280, height: 800 });
    const port = new URL(frame.url()).port;

    // Another address, at once; the old one leads nowhere.
    await page.fill('#rename [name=slug]', 'brand-2027');
    await page.click('#rename button');
    frame = await canvas(`${ports.WORKSPACE_PORT}-brand-2027`);
    const visitor = await chrome.newContext({ viewport: { width: 900, height: 600 } });
    const tab = await visitor.newPage();
    const old = await tab.goto(`http://${first}:${port}/`);
    assert.equal(old.status(), 404);
    assert.match(await tab.textContent('body'), /OpenDesigns Workspaces/);
    await picture('not-found', tab);

    // A link for everybody, until it is revoked; and one that expires.
    await page.click('#share button');
    const link = await page.getAttribute('#shares a', 'href');
    assert.equal((await tab.goto(link)).status(), 200);
    assert.equal(await tab.textContent('#name'), 'brand-2027');
    await page.click('#shares button');
    await page.waitForFunction(() => document.querySelectorAll('#shares li').length === 0);
    const revoked = await tab.goto(link);
    assert.equal(revoked.status(), 403);
    assert.match(await tab.textContent('body'), /OpenDesigns Workspaces/);
    await picture('share-revoked', tab);
    await page.selectOption('#share [name=expires_in]', '2');
    await page.click('#share button');
    const short = await page.getAttribute('#shares a', 'href');
    let expired;
    for (let tries = 0; tries < 40 && expired?.status() !== 410; tries += 1) {
      await new Promise((resolve) => setTimeout(resolve, 250));
      expired = await tab.goto(short);
    }
    assert.equal(expired.status(), 410);
    await picture('share-expired', tab);

    // One project too many.
    await page.fill('#create [name=name]', 'Second');
    await page.click('#create button');
    await canvas(`${ports.WORKSPACE_PORT}-second`);
    await page.fill('#create [name=name]', 'Third');
    await page.click('#create button');
    await page.waitForFunction(() => document.getElementById('notice').textContent.includes('no more projects'));
    await page.waitForFunction(() => document.getElementById('events').textContent.includes('quota.exceeded'), null, { timeout: 20_000 });
    await page.waitForFunction(() => document.getElementById('usage').textContent.includes('2 of 2'));
    await page.waitForFunction(() => Number(/Requests(\d+)/.exec(document.getElementById('usage').textContent)?.[1]) > 0, null, { timeout: 90_000 });
    await picture('quota');

    // The end: everything goes, every link with it.
    const last = await page.evaluate(() => document.querySelector('#preview iframe').src);
    await page.click('#cancel');
    await page.waitForFunction(() => document.getElementById('notice').textContent.includes('gone'));
    assert.equal((await tab.goto(new URL('/', last).href)).status(), 404);
    assert.deepEqual(errors, []);

    // Starting again sets nothing up twice.
    await running.stop();
    running = await open(language, data, ports);
    assert.deepEqual(running.setUp, []);
    assert.equal(JSON.parse(readFileSync(path.join(data, 'secrets.json'))).webhook.slice(0, 6), 'whsec_');
  });
}
