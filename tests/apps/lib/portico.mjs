// A running Portico, sandboxes on this machine's ports, a browser, and visitors without one.
import { execFileSync, spawn } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { rm } from 'node:fs/promises';
import http from 'node:http';
import https from 'node:https';
import net from 'node:net';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { chromium } from 'playwright-core';

export const here = path.dirname(path.dirname(fileURLToPath(import.meta.url)));
export const binary = process.env.PORTICO_BIN ?? path.join(here, '../../target/dist/portico');

export function temporary() {
  return mkdtempSync(path.join(tmpdir(), 'portico-'));
}

function firstLine(child) {
  return new Promise((resolve, reject) => {
    let text = '';
    child.stdout.on('data', (chunk) => {
      text += chunk;
      if (text.includes('\n')) resolve(text.slice(0, text.indexOf('\n')));
    });
    child.on('exit', (code) => reject(new Error(`ended early with ${code}`)));
  });
}

export class Portico {
  static async start() {
    const data = temporary();
    const ports = ['--port', '--https-port', '--api-port', '--admin-port'].flatMap((name) => [name, '0']);
    const child = spawn(binary, ['dev', ...ports, '--data', data, '--json', '--log', 'warn'], { stdio: ['ignore', 'pipe', 'inherit'] });
    const facts = JSON.parse(await firstLine(child));
    return Object.assign(new Portico(), { child, data, facts, port: Number(new URL(facts.preview_url).port) });
  }

  async stop() {
    const ended = new Promise((resolve) => this.child.on('exit', resolve));
    this.child.kill('SIGTERM');
    await ended;
    rmSync(this.data, { recursive: true });
  }

  // An operator's command on this one's data.
  operate(...command) {
    execFileSync(binary, [...command, '--data', this.data]);
  }

  async api(method, url, body) {
    const reply = await fetch(`${this.facts.api_url}/api/v1${url}`, {
      method,
      headers: { authorization: `Bearer ${this.facts.api_key}`, 'content-type': 'application/json' },
      body: body && JSON.stringify(body),
    });
    const text = await reply.text();
    if (!reply.ok) throw new Error(`${method} ${url}: ${reply.status} ${text}`);
    return text ? JSON.parse(text) : null;
  }

  // A sandbox whose port `port` is that port of this machine, and a link to it.
  async preview(slug, port, more = {}) {
    const { data: sandbox } = await this.api('POST', '/sandboxes', { name: slug, slug });
    if (more.profile) await this.api('POST', `/sandboxes/${sandbox.id}/previews`, { port, visibility: 'private', ...more });
    const minted = await this.api('POST', `/sandboxes/${sandbox.id}/preview-token`, { expires_in: 600, scope: 'interact', port });
    return { id: sandbox.id, host: `${port}-${slug}.${this.facts.zone}:${this.port}`, link: minted.url, token: minted.token, tokenId: minted.id };
  }

  // One request without a browser; `*.localhost` is this machine, whatever the resolver thinks.
  visit(host, target, { method = 'GET', headers = {}, agent } = {}) {
    return new Promise((resolve, reject) => {
      const request = http.request({ host: '127.0.0.1', port: this.port, path: target, method, headers: { host, ...headers }, agent });
      request.on('response', (response) => {
        const chunks = [];
        response.on('data', (chunk) => chunks.push(chunk));
        response.on('end', () => resolve({ status: response.statusCode, headers: response.headers, body: Buffer.concat(chunks) }));
        response.on('error', reject);
      });
      request.on('error', reject);
      request.end();
    });
  }
}

// Skips loudly where a tool is missing, and fails where nothing may be missing.
export function needs(t, there, what) {
  if (there) return true;
  if (process.env.CI) throw new Error(`missing: ${what}`);
  t.skip(`SKIPPED: ${what} is missing`);
  return false;
}

export const executablePath = ['/usr/bin/chromium', '/usr/bin/chromium-browser'].find(existsSync);
export const hasBrowser = Boolean(executablePath);

const quiet = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run', '--disable-background-networking',
  '--disable-component-update', '--disable-sync'];

export function browser() {
  return chromium.launch({ executablePath, args: quiet });
}

// A browser profile of its own, with settings a person would make: what cookies it keeps is one of them.
export async function profile(preferences, { args = [], ...more } = {}) {
  const folder = temporary();
  mkdirSync(path.join(folder, 'Default'));
  writeFileSync(path.join(folder, 'Default/Preferences'), JSON.stringify({ profile: preferences }));
  const context = await chromium.launchPersistentContext(folder, { executablePath, args: [...quiet, ...args], ...more });
  // The browser writes to its folder until its process has ended, a little after it says that it is closed.
  const close = context.close.bind(context);
  context.close = async () => {
    await close();
    await rm(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 });
  };
  return context;
}

// A server of this process's own: `handler` gets the request with its body, and gives [status, headers, body]. A body that is a function
// writes the reply itself. With a key and a certificate it speaks https.
export async function serve(handler, upgrade, pair) {
  const server = pair ? https.createServer(pair) : http.createServer();
  server.on('request', async (request, response) => {
    const chunks = [];
    for await (const chunk of request) chunks.push(chunk);
    const [status, headers, body] = await handler(request, Buffer.concat(chunks).toString());
    response.writeHead(status, headers);
    if (typeof body === 'function') body(response);
    else response.end(body);
  });
  const sockets = new Set();
  if (upgrade) {
    server.on('upgrade', (request, socket) => {
      sockets.add(socket);
      socket.on('close', () => sockets.delete(socket));
      socket.on('error', () => {});
      upgrade(request, socket);
    });
  }
  await new Promise((resolve) => { server.listen(0, '127.0.0.1', resolve); });
  const stop = () => {
    for (const socket of sockets) socket.destroy();
    server.closeAllConnections();
    return new Promise((resolve) => { server.close(resolve); });
  };
  return { port: server.address().port, stop };
}

// Agrees to a WebSocket and sends one text over it every `every` milliseconds.
export function ticking(request, socket, every = 250) {
  const accept = createHash('sha1').update(`${request.headers['sec-websocket-key']}258EAFA5-E914-47DA-95CA-C5AB0DC85B11`).digest('base64');
  socket.write(`HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: ${accept}\r\n\r\n`);
  const timer = setInterval(() => socket.write(Buffer.from('\x81\x04tick', 'latin1')), every);
  socket.on('close', () => clearInterval(timer));
  socket.resume();
}

export function freePort() {
  return new Promise((resolve) => {
    const server = net.createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });
}

// A program that is an app in a sandbox; ready when its port accepts.
export async function app(command, args, { port, cwd, env = {} }) {
  const child = spawn(command, args, { cwd, env: { ...process.env, ...env }, stdio: ['ignore', 'pipe', 'pipe'], detached: true });
  let log = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk) => { log = (log + chunk).slice(-4000); });
  for (let tries = 0; tries < 600; tries += 1) {
    if (child.exitCode !== null) throw new Error(`${command} ended: ${log}`);
    if (await accepts(port)) return { log: () => log, stop: () => stop(child) };
    await new Promise((resolve) => setTimeout(resolve, 100));
  }
  await stop(child);
  throw new Error(`${command} does not listen on ${port}: ${log}`);
}

async function accepts(port) {
  const tried = ['127.0.0.1', '::1'].map((host) => new Promise((resolve) => {
    const socket = net.connect(port, host, () => { socket.destroy(); resolve(true); });
    socket.on('error', () => resolve(false));
  }));
  return (await Promise.all(tried)).includes(true);
}

async function stop(child) {
  if (child.exitCode !== null) return;
  const ended = new Promise((resolve) => child.on('exit', resolve));
  // The program and what it started itself: they are one process group.
  process.kill(-child.pid, 'SIGKILL');
  await ended;
}
