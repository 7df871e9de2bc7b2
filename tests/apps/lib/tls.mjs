// A certificate authority of the tests' own, browsers that trust it, and a Portico that serves a zone by https.
import { execFileSync, spawn } from 'node:child_process';
import { mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { Portico, binary, freePort, profile, temporary } from './portico.mjs';

function there(command, ...args) {
  try {
    execFileSync(command, args, { stdio: 'ignore' });
    return true;
  } catch (error) {
    return error.code !== 'ENOENT';
  }
}

export const hasCertutil = there('certutil', '-H');
export const hasOpenssl = there('openssl', 'version');

const run = (command, ...args) => execFileSync(command, args, { stdio: ['ignore', 'ignore', 'pipe'] });
const NEW_KEY = ['-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes'];

// An authority in `folder`; `issue` writes NAME.pem and NAME.key for the names it is given.
export function authority(folder) {
  const file = (name) => path.join(folder, name);
  run('openssl', 'req', '-x509', ...NEW_KEY, '-keyout', file('ca.key'), '-out', file('ca.crt'), '-subj', '/CN=Test authority', '-days', '2');
  return {
    certificate: file('ca.crt'),
    issue(name, ...names) {
      const [key, request, extensions, certificate] = ['key', 'csr', 'ext', 'pem'].map((end) => file(`${name}.${end}`));
      run('openssl', 'req', ...NEW_KEY, '-keyout', key, '-out', request, '-subj', `/CN=${name}`);
      writeFileSync(extensions, `subjectAltName=${names.map((each) => `DNS:${each}`).join(',')}\nextendedKeyUsage=serverAuth\n`);
      run('openssl', 'x509', '-req', '-in', request, '-CA', file('ca.crt'), '-CAkey', file('ca.key'), '-CAcreateserial', '-days', '2',
        '-extfile', extensions, '-out', certificate);
      return { certificate, key, pair: { cert: readFileSync(certificate), key: readFileSync(key) } };
    },
  };
}

// A home folder whose browsers trust an authority, as a person or an administrator would make them: by their certificate store.
export function trusting(certificate) {
  const home = temporary();
  const store = path.join(home, '.pki/nssdb');
  mkdirSync(store, { recursive: true });
  run('certutil', '-N', '-d', `sql:${store}`, '--empty-password');
  run('certutil', '-A', '-d', `sql:${store}`, '-n', 'test', '-t', 'C,,', '-i', certificate);
  return home;
}

// A browser profile as `profile` makes it that trusts an authority and keeps to the names given, which are all this machine.
export async function secureProfile(certificate, preferences, { names = [], args = [], ...more } = {}) {
  const home = trusting(certificate);
  const rules = names.map((name) => `MAP ${name} 127.0.0.1`).join(', ');
  const resolver = names.length ? [`--host-resolver-rules=${rules}`] : [];
  const env = { ...process.env, HOME: home, XDG_DATA_HOME: path.join(home, '.local/share'), XDG_CONFIG_HOME: path.join(home, '.config') };
  const context = await profile(preferences, { args: [...resolver, ...args], env, ...more });
  const close = context.close.bind(context);
  context.close = async () => {
    await close();
    rmSync(home, { recursive: true, force: true });
  };
  return context;
}

// `portico serve` with a file of settings: one zone by https, sandboxes on this machine, access lines in a file.
export class Served extends Portico {
  static async start(zone, { certificate, key }) {
    const data = temporary();
    const [http, secure, api, admin] = [await freePort(), await freePort(), await freePort(), await freePort()];
    const config = path.join(data, 'portico.toml');
    const access = path.join(data, 'access.log');
    writeFileSync(config, `
[preview]
zones = ["${zone}"]
listen = "127.0.0.1:${http}"
workers = 2
[tls]
listen = "127.0.0.1:${secure}"
certificates = [{ certificate = "${certificate}", key = "${key}" }]
[api]
listen = "127.0.0.1:${api}"
[admin]
listen = "127.0.0.1:${admin}"
[store]
data = "${data}"
[networks]
allow = ["127.0.0.0/8"]
[log]
format = "json"
filter = "warn,portico::access=info"
file = "${access}"
`);
    const operate = (...command) => execFileSync(binary, [...command, '--data', data], { encoding: 'utf8' });
    operate('init');
    operate('tenant', 'create', 'opendesigns');
    const [apiKey] = operate('key', 'create', '--tenant', 'opendesigns', '--label', 'tests').match(/msk_[\w-]+/);
    const child = spawn(binary, ['serve', '--config', config], { stdio: ['ignore', 'ignore', 'inherit'] });
    const facts = { api_url: `http://127.0.0.1:${api}`, api_key: apiKey, zone };
    const portico = Object.assign(new Served(), { child, data, facts, port: secure, access });
    for (let tries = 0; ; tries += 1) {
      const ready = await fetch(`http://127.0.0.1:${admin}/readyz`).then((response) => response.ok, () => false);
      if (ready) return portico;
      if (child.exitCode !== null || tries > 200) throw new Error(`portico serve does not become ready (${child.exitCode})`);
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
  }

  // The access line of something that has happened: lines are written a little later.
  async line(wanted) {
    for (let tries = 0; tries < 100; tries += 1) {
      const found = this.lines().find(wanted);
      if (found) return found;
      await new Promise((resolve) => { setTimeout(resolve, 50); });
    }
    throw new Error('there is no such access line');
  }

  // The access lines written so far.
  lines() {
    return readFileSync(this.access, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line)).filter((line) => line.target === 'portico::access');
  }
}
