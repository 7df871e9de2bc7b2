// Django: a form with protection against forgery posts, without CSRF_TRUSTED_ORIGINS.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import test from 'node:test';
import { Portico, app, browser, freePort, hasBrowser, here, needs } from './lib/portico.mjs';

const python = process.env.PORTICO_PYTHON ?? path.join(here, '../.venv/bin/python');

// `local` works as it is: Django compares Origin with the Host it sees.
test('a form posts', async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  if (!needs(t, spawnSync(python, ['-c', 'import django']).status === 0, 'django')) return;
  const port = await freePort();
  const server = await app(python, ['one_file.py', String(port)], { port, cwd: path.join(here, 'fixtures/django') });
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => { await chrome.close(); await portico.stop(); await server.stop(); });
  const { link } = await portico.preview('django', port, { profile: 'local' });
  const page = await chrome.newPage();
  await page.goto(link);
  await page.fill('[name=word]', 'through the proxy');
  await page.click('#send');
  await page.waitForFunction(() => document.getElementById('heard')?.textContent === 'THROUGH THE PROXY', null, { timeout: 10_000 });
  assert.equal(new URL(page.url()).search, '');
});
