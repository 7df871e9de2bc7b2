// The API's page in a browser: collapsed, ordered by use, filtered, tried out, at both sizes, under its policy and without other servers.
import assert from 'node:assert/strict';
import { mkdirSync } from 'node:fs';
import path from 'node:path';
import test from 'node:test';
import { Portico, browser, hasBrowser, here, needs } from './lib/portico.mjs';

const SIZES = [{ width: 390, height: 844 }, { width: 1280, height: 800 }];
const shots = path.join(here, 'screenshots');

test('the API can be read and tried on a phone and on a desk', { timeout: 180_000 }, async (t) => {
  if (!needs(t, hasBrowser, 'chromium')) return;
  mkdirSync(shots, { recursive: true });
  const portico = await Portico.start();
  const chrome = await browser();
  t.after(async () => {
    await chrome.close();
    await portico.stop();
  });
  for (const colorScheme of ['light', 'dark']) {
    for (const viewport of SIZES) {
      const context = await chrome.newContext({ viewport, colorScheme });
      const page = await context.newPage();
      const problems = [];
      page.on('console', (message) => ['error', 'warning'].includes(message.type()) && problems.push(message.text()));
      page.on('pageerror', (error) => problems.push(String(error)));
      page.on('request', (request) => {
        const { protocol, origin } = new URL(request.url());
        if (protocol !== 'data:' && origin !== portico.facts.api_url) problems.push(`asked for ${request.url()}`);
      });
      const look = async (name, of = page) => {
        const wide = await page.evaluate(() => document.documentElement.scrollWidth - document.documentElement.clientWidth);
        assert.ok(wide <= 0, `${name} at ${viewport.width} is ${wide} px too wide`);
        await of.screenshot({ path: path.join(shots, `reference-${name}-${colorScheme}-${viewport.width}.png`), fullPage: true });
      };
      const calls = () => page.locator('.opblock').count();

      const response = await page.goto(`${portico.facts.api_url}/api/v1/docs`);
      assert.equal(response.status(), 200);
      const policy = response.headers()['content-security-policy'];
      assert.ok(policy.includes("default-src 'none'") && !policy.includes('unsafe'), policy);
      await page.waitForSelector('.opblock-tag');
      const groups = await page.locator('.opblock-tag').evaluateAll((all) => all.map((one) => one.dataset.tag));
      assert.deepEqual(groups.slice(0, 4), ['Sandboxes', 'Previews', 'Preview tokens', 'Share links']);
      assert.equal(await calls(), 0, 'everything is collapsed');
      const height = await page.evaluate(() => document.documentElement.scrollHeight);
      assert.ok(height < 6000, `${height} px high`);
      await look('collapsed');

      // A group opens with the call that creates.
      await page.locator('.opblock-tag .expand-operation').first().click();
      const first = page.locator('.opblock').first();
      assert.equal(await first.getAttribute('id'), 'operations-Sandboxes-create_sandbox');
      const ofGroup = await calls();
      assert.ok(ofGroup > 10, `${ofGroup}`);
      await first.locator('.opblock-summary-control').click();
      await first.locator('.responses-table').waitFor();
      await look('opened');
      await first.locator('.opblock-summary-control').click();

      // The filter finds calls in any group, by any of their words, and shows them.
      const filter = page.getByLabel('Filter');
      await filter.fill('post webhooks');
      await page.waitForFunction(() => document.querySelectorAll('.opblock-tag').length === 1);
      const found = await page.locator('.opblock-summary-path').evaluateAll((all) => all.map((one) => one.dataset.path));
      assert.ok(found.length > 0 && found.every((one) => one.startsWith('/api/v1/webhooks')), `${found}`);
      await look('filtered');
      await filter.fill('nothing of the kind');
      await page.getByText('No call matches.').waitFor();
      assert.equal(await page.locator('.opblock-tag').count(), 0);
      await look('nothing');

      // A call is made with the key, and without it.
      await filter.fill('whoami');
      const call = page.locator('#operations-Tenant-whoami');
      await call.locator('.opblock-summary-control').click();
      const execute = async (status) => {
        await call.locator('.execute').click();
        await call.locator('.live-responses-table .response-col_status', { hasText: status }).waitFor();
      };
      await execute('401');
      await page.locator('.btn.authorize').click();
      await page.locator('.auth-container input').fill(portico.facts.api_key);
      await look('authorize');
      await page.locator('.auth-btn-wrapper .authorize').click();
      await page.locator('.auth-btn-wrapper .btn-done').click();
      await execute('200');
      assert.match(await call.locator('.live-responses-table').textContent(), /"tenant_id"/);
      await look('tried');

      await filter.fill('');
      await page.waitForFunction(() => document.querySelectorAll('.opblock-tag').length > 10);
      assert.equal(await page.getByText('No call matches.').isVisible(), false);
      assert.deepEqual(problems.filter((one) => !one.includes('401 (Unauthorized)')), []);
      await context.close();
    }
  }
});
