// A Node server as people write them: GET /N is answered with N bytes of the pattern.
//
//   node bodies.js HOST PORT            one process
//   node bodies.js HOST PORT cluster    the primary accepts and hands connections to a worker
'use strict';
const cluster = require('cluster');
const http = require('http');

const [host, port, mode] = process.argv.slice(2);
const PERIOD = 251;

if (mode === 'cluster' && cluster.isPrimary) {
  cluster.fork();
} else {
  http.createServer((request, response) => {
    const length = Number(request.url.slice(1)) || 0;
    response.end(Buffer.alloc(length, Buffer.from(Array.from({ length: PERIOD }, (_, at) => at))));
  }).listen(Number(port), host);
}
