// OpenDesigns, the web application: sessions, pages and a small JSON API for them. What it asks of Portico is in opendesigns.mjs.
import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import http from 'node:http';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import * as opendesigns from './opendesigns.mjs';
import { Refused } from './portico.mjs';

const here = path.dirname(fileURLToPath(import.meta.url));
const WEB = path.join(here, '../web');
const PORT = Number(process.env.PORT ?? 8090);
const DOMAIN = process.env.OPENDESIGNS_DOMAIN ?? 'opendesigns.localhost';
// Where the secret of the webhook is kept; a real product has a vault.
const KEPT = process.env.OPENDESIGNS_DATA ?? path.join(here, '.data');
const KINDS = { '.html': 'text/html; charset=utf-8', '.js': 'text/javascript', '.css': 'text/css' };

const kept = {};
const sessions = new Map();
// What the webhook told, the newest last, by the event's id: a delivery that comes twice counts once.
const events = new Map();

const shown = ({ id, name, slug, state, preview_url: url }) => ({ id, name, slug, state, url });

function user(visit) {
  if (!visit.user) throw new Refused(401, 'SIGNED_OUT', 'Sign in first.');
  return visit.user;
}

const mine = (visit, id) => opendesigns.projectOf(user(visit), id);

// Method, path and what is done; `:id` in a path is handed over.
const routes = [
  ['GET', '/api/state', async (visit) => [200, {
    user: visit.user ?? null,
    projects: visit.user ? (await opendesigns.projects(visit.user)).map(shown) : [],
    embed: `${process.env.PORTICO_API_URL}/embed/v1/portico-embed.js`,
  }]],
  ['POST', '/api/sign-up', async (visit) => {
    const { name, project } = visit.json();
    const me = `user-${opendesigns.slugOf(name)}`;
    await opendesigns.signUp(me);
    visit.begin(me);
    return [201, shown(await opendesigns.provision(me, project))];
  }],
  ['POST', '/api/projects', async (visit) => [201, shown(await opendesigns.provision(user(visit), visit.json().name))]],
  ['PATCH', '/api/projects/:id', async (visit, id) => [200, shown(await opendesigns.rename(await mine(visit, id), visit.json().slug))]],
  ['POST', '/api/projects/:id/link', async (visit, id) => [200, await opendesigns.link(await mine(visit, id))]],
  ['GET', '/api/projects/:id/shares', async (visit, id) => [200, await opendesigns.shares(await mine(visit, id))]],
  ['POST', '/api/projects/:id/shares', async (visit, id) => [201, await opendesigns.share(await mine(visit, id), visit.json().expires_in)]],
  ['DELETE', '/api/projects/:id/shares/:id', async (visit, id, share) => {
    await opendesigns.revoke(await mine(visit, id), share);
    return [204];
  }],
  ['GET', '/api/usage', async (visit) => [200, await opendesigns.usage(user(visit))]],
  ['GET', '/api/events', async (visit) => {
    const me = user(visit);
    return [200, [...events.values()].filter((event) => event.data.external_user_id === me)];
  }],
  ['POST', '/api/cancel', async (visit) => {
    const destroyed = await opendesigns.cancel(user(visit));
    visit.end();
    return [200, { destroyed }];
  }],
  ['POST', '/hooks/portico', async (visit) => {
    if (!opendesigns.receive(visit.body, visit.headers, kept)) return [401];
    const event = visit.json();
    if (!events.has(event.id)) events.set(event.id, event);
    return [204];
  }],
].map(([method, pattern, act]) => ({ method, pattern: new RegExp(`^${pattern.replaceAll(':id', '([^/]+)')}$`), act }));

async function handle(request, response) {
  const { pathname } = new URL(request.url, 'http://localhost');
  const chunks = [];
  for await (const chunk of request) chunks.push(chunk);
  const body = Buffer.concat(chunks);
  const id = /(?:^|; )session=([^;]+)/.exec(request.headers.cookie ?? '')?.[1];
  const visit = {
    body,
    headers: request.headers,
    user: sessions.get(id),
    json: () => JSON.parse(body.toString() || '{}'),
    begin(me) {
      const fresh = randomBytes(16).toString('hex');
      sessions.set(fresh, me);
      response.setHeader('set-cookie', `session=${fresh}; Path=/; HttpOnly; SameSite=Lax`);
    },
    end: () => sessions.delete(id),
  };
  for (const { method, pattern, act } of routes) {
    const found = request.method === method && pattern.exec(pathname);
    if (found) {
      const [status, told] = await act(visit, ...found.slice(1).map(decodeURIComponent));
      response.writeHead(status, told && { 'content-type': 'application/json' }).end(told && JSON.stringify(told));
      return;
    }
  }
  const file = path.join(WEB, pathname === '/' ? 'index.html' : path.basename(pathname));
  if (request.method !== 'GET' || !existsSync(file)) return response.writeHead(404).end();
  return response.writeHead(200, { 'content-type': KINDS[path.extname(file)] ?? 'application/octet-stream' }).end(await readFile(file));
}

const server = http.createServer((request, response) => handle(request, response).catch((error) => {
  // Portico's word is good enough for the page: a code, and a sentence.
  const status = error instanceof Refused ? error.status : 500;
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify({ code: error.code, message: error.message }));
}));

const file = path.join(KEPT, 'secrets.json');
if (existsSync(file)) Object.assign(kept, JSON.parse(readFileSync(file)));
for (const line of await opendesigns.setUp(DOMAIN, `http://127.0.0.1:${PORT}/hooks/portico`, kept)) console.log(`set-up: ${line}`);
mkdirSync(KEPT, { recursive: true });
writeFileSync(file, JSON.stringify(kept), { mode: 0o600 });
server.listen(PORT, '127.0.0.1', () => console.log(`OpenDesigns: http://app.${DOMAIN}:${PORT}/`));
