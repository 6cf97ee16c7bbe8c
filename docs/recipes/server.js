// GET /N answers with N bytes; whatever has a body is refused without being read.
const { createServer } = require('node:http');

const server = createServer((request, response) => {
  const refused = 'content-length' in request.headers;
  const body = Buffer.alloc(refused ? 1000000 : Number(request.url.slice(1)) || 0, 'x');
  response.writeHead(refused ? 413 : 200, { 'Content-Length': body.length, Connection: 'close' });
  response.end(body);
});
server.listen(8080, '127.0.0.1');
process.on('SIGTERM', () => server.close(() => process.exit()));
