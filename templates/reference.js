// The API document in Swagger UI: calls in the order in which they are needed, and a filter over everything that a call is known by.
(() => {
  'use strict';

  const METHODS = ['post', 'get', 'put', 'patch', 'delete'];

  // Short paths first, what is below one thing before what is beside it, and of one path the call that creates first.
  function order(a, b) {
    const [left, right] = [a.get('path'), b.get('path')].map((path) => path.replaceAll('{', '!').split('/'));
    if (left.length !== right.length) return left.length - right.length;
    const [first, second] = [left.join('/'), right.join('/')];
    if (first !== second) return first < second ? -1 : 1;
    return METHODS.indexOf(a.get('method')) - METHODS.indexOf(b.get('method'));
  }

  function matching(groups, phrase) {
    const words = phrase.toLowerCase().split(/\s+/).filter(Boolean);
    const left = groups
      .map((group, name) => group.update('operations', (operations) => operations.filter((operation) => {
        const known = ['method', 'path'].map((part) => operation.get(part));
        const said = ['summary', 'operationId'].map((part) => operation.getIn(['operation', part]));
        const text = [name, ...known, ...said].join(' ').toLowerCase();
        return words.every((word) => text.includes(word));
      })))
      .filter((group) => group.get('operations').size > 0);
    document.getElementById('none').hidden = left.size > 0;
    return left;
  }

  // Groups are open while a filter is set, because what it found would be hidden in them. (The original has its state already.)
  const open = (original, system) => (state, thing, ...more) => (
    (thing[0] === 'operations-tag' && Boolean(system.layoutSelectors.currentFilter())) || original(thing, ...more)
  );

  const dark = matchMedia('(prefers-color-scheme: dark)');
  const dress = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
  dark.addEventListener('change', dress);
  dress();

  const reader = SwaggerUIBundle({
    url: 'openapi.json',
    domNode: document.getElementById('reader'),
    docExpansion: 'none',
    defaultModelsExpandDepth: 0,
    deepLinking: true,
    tryItOutEnabled: true,
    operationsSorter: order,
    // Nothing leaves this server, and nothing that the address says changes what is read.
    validatorUrl: null,
    queryConfigEnabled: false,
    plugins: [() => ({ fn: { opsFilter: matching }, statePlugins: { layout: { wrapSelectors: { isShown: open } } } })],
  });

  document.getElementById('filter').addEventListener('input', ({ target }) => {
    const phrase = target.value.trim();
    if (!phrase) document.getElementById('none').hidden = true;
    reader.layoutActions.updateFilter(phrase);
  });
})();
