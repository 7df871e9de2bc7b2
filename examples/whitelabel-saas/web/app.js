// The page of OpenDesigns. It talks to its own back end only, and shows the project in an iframe that the embed script keeps signed in.
const at = (id) => document.getElementById(id);

let project; // the one that is shown
let mounted; // its preview

async function ask(method, path, body) {
  const response = await fetch(path, { method, headers: { 'content-type': 'application/json' }, body: body && JSON.stringify(body) });
  const told = response.status === 204 ? null : await response.json();
  if (!response.ok) throw Object.assign(new Error(told.message), { code: told.code });
  return told;
}

function notice(text) {
  at('notice').textContent = text;
  at('notice').hidden = !text;
}

// What a form or a button does; errors are shown above.
function on(id, event, act) {
  at(id).addEventListener(event, async (happened) => {
    happened.preventDefault();
    notice('');
    try {
      await act(happened.target.matches('form') ? Object.fromEntries(new FormData(happened.target)) : happened);
    } catch (error) {
      const words = { QUOTA_EXCEEDED: 'Your plan has no more projects left.', SLUG_TAKEN: 'This address is already taken.' };
      notice(words[error.code] ?? error.message);
    }
  });
}

function element(name, properties, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

async function show(id) {
  const state = await ask('GET', '/api/state');
  at('welcome').hidden = Boolean(state.user);
  at('work').hidden = !state.user;
  at('who').textContent = state.user ?? '';
  project = state.projects.find((one) => one.id === id) ?? state.projects.at(-1);
  at('projects').replaceChildren(...state.projects.map((one) => element('button', {
    textContent: one.name, ariaCurrent: one.id === project?.id ? 'page' : null, onclick: () => show(one.id),
  })));
  mounted?.destroy();
  mounted = undefined;
  if (!project) return;
  at('title').textContent = project.name;
  at('address').textContent = new URL(project.url).host;
  at('rename').elements.slug.value = project.slug;
  const { mount } = await import(state.embed);
  const here = project.id;
  mounted = mount('#preview', {
    getUrl: () => ask('POST', `/api/projects/${here}/link`),
    title: project.name,
    onError: (error) => notice(`The preview: ${error.message}`),
  });
  await Promise.all([shares(), usage(), events()]);
}

async function shares() {
  const all = await ask('GET', `/api/projects/${project.id}/shares`);
  at('shares').replaceChildren(...all.map((one) => element('li', {},
    element('a', { href: one.share_url, target: '_blank', textContent: one.expires_at ? `expires ${new Date(one.expires_at).toLocaleTimeString()}` : 'no expiry' }),
    ` · opened ${one.visits ?? 0} times `,
    element('button', { textContent: 'Revoke', onclick: () => revoke(one.share_id ?? one.id) }))));
}

async function revoke(id) {
  await ask('DELETE', `/api/projects/${project.id}/shares/${id}`);
  await shares();
}

async function usage() {
  const { used, quota } = await ask('GET', '/api/usage');
  const rows = {
    Projects: `${quota.usage.sandboxes} of ${quota.limits.max_sandboxes}`,
    'Compute time': `${Math.round(used.wall_seconds ?? 0)} s`,
    Requests: used.requests ?? 0,
    Traffic: `${Math.round(((used.bytes_out ?? 0) + (used.bytes_in ?? 0)) / 1024)} KiB`,
  };
  at('usage').replaceChildren(...Object.entries(rows).flatMap(([name, value]) => [
    element('dt', { textContent: name }), element('dd', { textContent: value }),
  ]));
}

async function events() {
  const all = await ask('GET', '/api/events');
  at('events').replaceChildren(...all.slice(-8).reverse().map((event) => element('li', { textContent: event.type })));
}

on('sign-up', 'submit', async (form) => show((await ask('POST', '/api/sign-up', form)).id));
on('create', 'submit', async (form) => show((await ask('POST', '/api/projects', form)).id));
on('rename', 'submit', async ({ slug }) => show((await ask('PATCH', `/api/projects/${project.id}`, { slug })).id));
on('share', 'submit', async (form) => {
  await ask('POST', `/api/projects/${project.id}/shares`, form.expires_in ? { expires_in: Number(form.expires_in) } : {});
  await shares();
});
on('cancel', 'click', async () => {
  await ask('POST', '/api/cancel');
  await show();
  notice('Your projects and all links to them are gone.');
});

// What changes by itself.
setInterval(() => { if (project && !document.hidden && !at('work').hidden) Promise.all([usage(), events(), shares()]).catch(() => {}); }, 2000);
await show();
