// The control API from Node: one function, and the webhook's signature.
import { createHmac, timingSafeEqual } from 'node:crypto';

const BASE = `${process.env.PORTICO_API_URL}/api/v1`;
const KEY = process.env.PORTICO_API_KEY;

export class Refused extends Error {
  constructor(status, code, message, details) {
    super(message);
    Object.assign(this, { status, code, details });
  }
}

// One call. `key`: what makes a repeated create the same create.
export async function portico(method, path, body, key) {
  const headers = { authorization: `Bearer ${KEY}`, accept: 'application/json' };
  if (body) headers['content-type'] = 'application/json';
  if (key) headers['idempotency-key'] = key;
  const response = await fetch(BASE + path, { method, headers, body: body && JSON.stringify(body) });
  const text = await response.text();
  const told = text ? JSON.parse(text) : null;
  if (!response.ok) throw new Refused(response.status, told?.error?.code, told?.error?.message ?? response.statusText, told?.error?.details);
  return told;
}

// Whether a delivery is signed with the secret, and not older than five minutes.
export function isGenuine(body, header, secret, now = Date.now()) {
  const parts = (header ?? '').split(',').map((part) => part.split('=', 2));
  const moment = Number(parts.find(([name]) => name === 't')?.[1]);
  if (!moment || Math.abs(now / 1000 - moment) > 300) return false;
  const wanted = createHmac('sha256', secret).update(`${moment}.`).update(body).digest();
  // There are two while a secret is being changed for another.
  return parts.some(([name, hex]) => {
    const given = Buffer.from(name === 'v1' ? hex : '', 'hex');
    return given.length === wanted.length && timingSafeEqual(given, wanted);
  });
}
