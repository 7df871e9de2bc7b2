// What OpenDesigns asks of Portico: every call it makes, one function a step, in the order in which a customer meets them.
// Nothing here knows of the web; app.mjs does. The API key stays in this process.
import { randomUUID } from 'node:crypto';
import { Refused, isGenuine, portico } from './portico.mjs';

// One person may have so many projects.
const MAX_PROJECTS = 2;

const BRANDING = {
  product_name: 'OpenDesigns Workspaces',
  support_email: 'help@opendesigns.example',
  support_url: 'https://opendesigns.example/help',
  primary_color: '#7c3aed',
  background_color: '#faf7ff',
};

// -- Once, and again at every start: each step looks first and does only what is missing -----------------------------------------

// Branding, preview domain, webhook. Tells what it did. `secrets` keeps the webhook's secret, which is shown only once.
export async function setUp(domain, hookUrl, secrets) {
  const done = [];
  if (!(await portico('GET', '/tenant/branding')).branding) {
    await portico('PUT', '/tenant/branding', { branding: BRANDING });
    done.push('branding set');
  }

  let registered = await portico('GET', '/tenant/preview-domain');
  if (registered.domain !== domain) {
    registered = await portico('PUT', '/tenant/preview-domain', { preview_domain: domain });
    done.push(`${domain} registered`);
  }
  if (!registered.verified_at) {
    const response = await portico('POST', '/tenant/preview-domain/verify', {});
    const missing = response.records.filter((record) => record.status !== 'verified').map((record) => record.name);
    // Until it is, links are made in the platform's own zone.
    done.push(response.verified ? `${domain} verified` : `${domain} is not verified yet; missing: ${missing.join(', ')}`);
  }

  const known = (await portico('GET', '/webhooks')).data.filter((hook) => hook.url === hookUrl);
  if (known.length === 0 || !secrets.webhook) {
    for (const hook of known) await portico('DELETE', `/webhooks/${hook.id}`);
    const hook = await portico('POST', '/webhooks', { url: hookUrl, events: ['sandbox.*', 'quota.exceeded'] });
    secrets.webhook = hook.secret;
    done.push('webhook registered');
  }
  return done;
}

// -- A customer signs up -----------------------------------------------------------------------------------------------------------

const quota = (userId) => `/quotas/external/${encodeURIComponent(userId)}`;

// What this person may use.
export async function signUp(userId) {
  await portico('PUT', quota(userId), { max_sandboxes: MAX_PROJECTS });
}

// `Brand refresh 2026` becomes `brand-refresh-2026`.
export function slugOf(name) {
  return name.toLowerCase().replace(/[^a-z0-9]+/g, '-').replace(/^-+|-+$/g, '').slice(0, 40) || 'project';
}

// A sandbox of their own. The ids come back in lists, webhooks and usage.
export async function provision(userId, name) {
  const projectId = `project-${randomUUID().slice(0, 8)}`;
  const wanted = slugOf(name);
  for (const slug of [wanted, `${wanted}-${projectId.slice(-4)}`]) {
    try {
      const made = await portico('POST', '/sandboxes?wait=20', {
        name,
        slug,
        external_user_id: userId,
        external_project_id: projectId,
        metadata: { plan: 'free', template: 'brand' },
      }, randomUUID());
      return made.data;
    } catch (error) {
      // Somebody else's project has this address already: take the next.
      if (error.code !== 'SLUG_TAKEN') throw error;
    }
  }
  throw new Refused(409, 'SLUG_TAKEN', 'No free address was found.');
}

// All of a person's projects.
export async function projects(userId) {
  return (await portico('GET', `/sandboxes?external_user_id=${encodeURIComponent(userId)}`)).data;
}

// A project, if it is this person's. Whose it is, the back end decides: the browser only says which.
export async function projectOf(userId, id) {
  const { data } = await portico('GET', `/sandboxes/${encodeURIComponent(id)}`);
  if (data.external_user_id !== userId || data.state === 'destroyed') throw new Refused(404, 'NOT_FOUND', 'There is no such project.');
  return data;
}

// -- They work ---------------------------------------------------------------------------------------------------------------------

// A link for the iframe that lives as long as one look at it; the page asks for the next in time.
export function link(sandbox) {
  return portico('POST', `/sandboxes/${sandbox.id}/preview-token`, { expires_in: 900, scope: 'interact' });
}

// Another address, at once, for the same machine. 409 `SLUG_TAKEN` when somebody has it.
export async function rename(sandbox, slug) {
  return (await portico('PATCH', `/sandboxes/${sandbox.id}`, { slug, tags: ['renamed'], metadata: { renamed: true } })).data;
}

// A link that opens the project for whoever has it, until it expires or is revoked.
export function share(sandbox, expiresIn) {
  return portico('POST', `/sandboxes/${sandbox.id}/shares`, { scope: 'read', ...(expiresIn && { expires_in: expiresIn }) });
}

export async function shares(sandbox) {
  return (await portico('GET', `/sandboxes/${sandbox.id}/shares`)).data;
}

export function revoke(sandbox, shareId) {
  return portico('DELETE', `/sandboxes/${sandbox.id}/shares/${encodeURIComponent(shareId)}`);
}

// Whether a webhook really comes from Portico, and is not older than five minutes.
export function receive(body, headers, secrets) {
  return isGenuine(body, headers['miosa-signature'], secrets.webhook);
}

// -- Money, and the end ------------------------------------------------------------------------------------------------------------

// What this person used this month, and what they may.
export async function usage(userId) {
  const asked = new URLSearchParams({ external_user_id: userId, group_by: 'external_user_id', period: 'month-to-date' });
  const month = await portico('GET', `/usage?${asked}`);
  return { from: month.period_start, used: month.results[0] ?? {}, quota: (await portico('GET', quota(userId))).data };
}

// Everything of theirs goes; their links and addresses with it.
export async function cancel(userId) {
  const mine = await projects(userId);
  for (const sandbox of mine) await portico('DELETE', `/sandboxes/${sandbox.id}`);
  await portico('DELETE', quota(userId));
  return mine.length;
}
