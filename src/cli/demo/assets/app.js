// Proves one kind of traffic after the other, and says so on the page and in `document.body.dataset.ready`.
const ready = new Set();

function works(what, note) {
  const line = document.getElementById(what);
  line.classList.add('works');
  if (note) line.querySelector('.note').textContent = note;
  ready.add(what);
  const order = ['page', 'script', 'style', 'fetch', 'sse', 'websocket'];
  document.body.dataset.ready = order.filter((name) => ready.has(name)).join(' ');
}

works('page', location.host);
works('script');

const styled = () => getComputedStyle(document.documentElement).getPropertyValue('--style-loaded').trim() === '1';
if (styled()) works('style'); else addEventListener('load', () => styled() && works('style'));

const seen = await (await fetch('/api/hello?from=page')).json();
const echoed = await (await fetch('/api/echo', { method: 'POST', body: 'ping' })).text();
if (seen.method === 'GET' && echoed === 'ping') works('fetch', 'GET responded, POST echoed');
document.getElementById('headers').textContent =
  `${seen.method} ${seen.target}\n` + Object.entries(seen.headers).map(([name, value]) => `${name}: ${value}`).join('\n');

const events = new EventSource('/events');
events.addEventListener('tick', (event) => works('sse', `tick ${event.data}`));

const socket = new WebSocket(`${location.protocol === 'https:' ? 'wss' : 'ws'}://${location.host}/socket`);
const heard = document.getElementById('heard');
socket.addEventListener('open', () => socket.send('hello'));
socket.addEventListener('message', (event) => {
  works('websocket', `echoed “${event.data}”`);
  heard.textContent = `heard back: ${event.data}`;
});
socket.addEventListener('close', (event) => {
  document.body.dataset.closed = String(event.code);
  document.getElementById('websocket').classList.remove('works');
  document.querySelector('#websocket .note').textContent = `closed: ${event.code} ${event.reason}`;
});
document.getElementById('talk').addEventListener('submit', (event) => {
  event.preventDefault();
  socket.send(document.getElementById('say').value);
});
