import { execFileSync } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { accepts, freePort, inMemory, makeFolder, removeFolder, startMeasured } from '../lib/programs.js'

/** Starts nginx as a streaming reverse proxy, with an access log as the router has. Throws if it is not installed. */
export async function startNginx({ upstreamPort }) {
  const version = readVersion()
  const folder = makeFolder(inMemory)
  const port = await freePort()
  writeFileSync(join(folder, 'nginx.conf'), configuration(port, upstreamPort))
  const program = await startMeasured('nginx', ['-p', folder, '-c', 'nginx.conf', '-e', 'error.log'], {
    ready: accepts(port)
  })
  return {
    ...program,
    name: 'nginx',
    version,
    port,
    stop: async () => {
      // SIGKILL would leave its worker behind.
      await program.stop('SIGTERM')
      removeFolder(folder)
    }
  }
}

function readVersion() {
  try {
    // `nginx -v` writes to stderr.
    return /nginx\/(\S+)/.exec(execFileSync('sh', ['-c', 'nginx -v 2>&1'], { encoding: 'utf8' }))[1]
  } catch {
    throw new Error('not installed')
  }
}

const configuration = (port, upstreamPort) => `
daemon off;
worker_processes 1;
pid nginx.pid;
error_log error.log warn;
events { worker_connections 8192; }
http {
  access_log access.log;
  client_body_temp_path client-body;
  proxy_temp_path proxy;
  fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi;
  scgi_temp_path scgi;
  keepalive_requests 1000000000;
  upstream provider {
    server 127.0.0.1:${upstreamPort};
    keepalive 256;
    keepalive_requests 1000000000;
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://provider;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_buffering off;
      proxy_read_timeout 300s;
    }
  }
}
`
