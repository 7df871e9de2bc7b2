// Serves the canvas, as an app in a sandbox would: node serve.mjs PORT
import { readFileSync } from 'node:fs';
import http from 'node:http';

const page = readFileSync(new URL('index.html', import.meta.url));
http.createServer((request, response) => {
  response.writeHead(request.url.split('?')[0] === '/' ? 200 : 404, { 'content-type': 'text/html; charset=utf-8' }).end(page);
}).listen(Number(process.argv[2]), '127.0.0.1');
