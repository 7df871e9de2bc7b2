// Shows a preview in a page and keeps its session alive. No dependencies; docs/embed.md says how to use it.
// @ts-check

/** @typedef {import('./portico-embed.js').Options} Options */
/** @typedef {import('./portico-embed.js').Link} Link */

const ENDPOINT = '/.well-known/portico/session';
const ATTRIBUTES = {
  sandbox: 'allow-scripts allow-same-origin allow-forms allow-popups',
  allow: 'clipboard-read; clipboard-write',
  title: 'Preview',
};
// Sessions are renewed this long before they end: a fifth of their time, and at least ten seconds.
const SHARE = 0.2;
const LEAST = 10_000;
// Between two attempts that fail, and as what a session counts whose end nobody tells.
const SLOWEST = 60_000;
// After so many ended sessions within a minute another link would not help.
const TOO_MANY = 3;

/** @param {string} code @param {string} message @param {unknown} [cause] */
function fault(code, message, cause) {
  return Object.assign(new Error(message, { cause }), { code });
}

/** The token in a link. @param {string} url */
function tokenOf(url) {
  for (const value of new URL(url).searchParams.values()) {
    if (/^(mp_|ms_|miosa_pv_)/.test(value)) return value;
  }
  return undefined;
}

/** @type {typeof import('./portico-embed.js').mount} */
export function mount(target, options) {
  const parent = typeof target === 'string' ? document.querySelector(target) : target;
  if (!parent) throw fault('no_target', `There is no element ${target} to mount the preview in.`);
  const ask = options.getUrl ?? options.getToken;
  if (!ask && !options.url) throw fault('no_url', 'A preview needs url, getUrl or getToken.');

  const iframe = document.createElement('iframe');
  const attributes = { ...ATTRIBUTES, ...(options.title && { title: options.title }), ...options.attributes };
  for (const [name, value] of Object.entries(attributes)) {
    if (value != null) iframe.setAttribute(name, value);
  }
  const stopped = new AbortController();
  let origin = '';
  let ends = Infinity; // when the session ends
  let due = Infinity; // when something is to be done about it
  let expired = false; // the frame shows that its session has ended
  let failures = 0;
  /** @type {number[]} */
  let recoveries = []; // when sessions were found ended of late
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  let timer;
  /** @type {Promise<void> | undefined} */
  let running;

  /** @param {Link | string} answer @returns {Link & {url: string}} */
  function normal(answer) {
    const link = typeof answer === 'string' ? { url: answer } : answer;
    if (link?.url) return { ...link, url: new URL(link.url, location.href).href };
    if (!link?.token || !options.url) throw fault('bad_link', 'The response has no url, and no token for the given url.');
    const url = new URL(options.url, location.href);
    url.search += `${url.search ? '&' : '?'}mt=${encodeURIComponent(link.token)}`;
    return { ...link, url: url.href };
  }

  /** A new session has begun. Without a word about its end it counts as short. @param {Link} link @param {number} [told] */
  function begun(link, told) {
    failures = 0;
    let left = link.expires_in ? link.expires_in * 1000 : Date.parse(`${link.expires_at}`) - Date.now();
    if (!(left > 0)) left = told || SLOWEST;
    const margin = Math.min(Math.max(left * SHARE, LEAST), left / 2);
    ends = Date.now() + left;
    if (ask) wait(ends - margin);
  }

  /** How long the session lasts by the preview's own word. */
  async function standing() {
    try {
      const told = await (await call({})).json();
      return Math.max(Date.parse(told.expires_at) - Date.now(), 0);
    } catch {
      return 0;
    }
  }

  /** @param {RequestInit} request */
  function call(request) {
    const signal = AbortSignal.timeout(15_000);
    return fetch(origin + ENDPOINT, { credentials: 'include', referrerPolicy: 'strict-origin', cache: 'no-store', signal, ...request });
  }

  /** Opens a link in the frame. @param {Link & {url: string}} link */
  function open(link) {
    origin = new URL(link.url).origin;
    expired = false;
    iframe.src = link.url;
    begun(link);
  }

  async function renew() {
    if (!ask) throw fault('no_url', 'A session cannot be renewed without getUrl or getToken.');
    const link = normal(await ask());
    if (stopped.signal.aborted) return;
    const token = link.token ?? tokenOf(link.url);
    if (!origin || new URL(link.url).origin !== origin || !token) return open(link);
    // A session that was renewed and is not there all the same: opening the link shows why.
    if (expired && recoveries.length > 1) return open(link);
    try {
      const answer = await call({ method: 'POST', body: token });
      if (!answer.ok) throw fault(answer.headers.get('x-preview-error') ?? 'refused', `The session was not renewed (${answer.status}).`);
    } catch (error) {
      // What runs is not reloaded while its session lasts.
      if (!expired && Date.now() < ends) throw error;
      return open(link);
    }
    if (stopped.signal.aborted) return;
    begun(link, link.expires_in || link.expires_at ? 0 : await standing());
    if (expired) {
      expired = false;
      iframe.contentWindow?.postMessage({ type: 'preview:session-refreshed' }, origin);
    }
    options.onRefresh?.({ expiresAt: new Date(ends) });
  }

  function refresh() {
    running ??= renew()
      .catch((error) => {
        if (stopped.signal.aborted) return;
        failures += 1;
        const pause = Math.min(1000 * 2 ** failures, SLOWEST);
        if (ask) wait(Date.now() + pause * (0.5 + Math.random() / 2));
        options.onError?.(error instanceof Error ? error : fault('failed', String(error), error));
        throw error;
      })
      .finally(() => { running = undefined; });
    return running;
  }

  /** @param {number} until */
  function wait(until) {
    due = until;
    look();
  }

  /** Does what is due. In a hidden tab nothing is, until it is seen again. */
  function look() {
    clearTimeout(timer);
    if (stopped.signal.aborted || document.hidden || due === Infinity) return;
    const left = due - Date.now();
    if (left > 0) {
      timer = setTimeout(look, Math.min(left, 2 ** 31 - 1));
      return;
    }
    due = Infinity;
    refresh().catch(() => {});
  }

  /** @param {MessageEvent} event */
  function heard({ source, origin: from, data }) {
    if (source !== iframe.contentWindow || from !== origin || data?.type !== 'preview:session-expired') return;
    options.onExpired?.(data);
    if (data.code === 'cookies_blocked') {
      // The page in the frame offers the ways that are left.
      options.onError?.(fault(data.code, 'The browser blocks cookies in this frame.'));
      return;
    }
    if (!ask) return;
    const now = Date.now();
    recoveries = [...recoveries.filter((at) => at > now - 60_000), now];
    if (recoveries.length > TOO_MANY) {
      options.onError?.(fault('session_lost', 'The session is lost again and again.'));
      return;
    }
    expired = true;
    wait(now);
  }

  window.addEventListener('message', heard, { signal: stopped.signal });
  document.addEventListener('visibilitychange', look, { signal: stopped.signal });
  parent.append(iframe);
  if (options.url && (!ask || tokenOf(new URL(options.url, location.href).href))) {
    open(normal({ ...options, token: undefined }));
  } else {
    refresh().catch(() => {});
  }

  return {
    iframe,
    refresh,
    destroy() {
      stopped.abort();
      clearTimeout(timer);
      iframe.remove();
    },
  };
}
