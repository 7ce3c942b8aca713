import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'

/** One request as nginx logged it, with every attempt to have it answered. */
export interface Logged {
  readonly method: string
  readonly path: string
  readonly status: number
  readonly attempts: readonly { readonly upstream: string; readonly bytesSent: number }[]
}

export interface Nginx {
  readonly url: string
  log(): Promise<readonly Logged[]>
  stop(): Promise<void>
}

/** Why nginx cannot be started here; undefined if it can. */
export function withoutNginx(): string | undefined {
  return spawnSync('nginx', ['-v']).error === undefined ? undefined : 'nginx is not installed'
}

/**
 * nginx in front of several routers, on a free port of 127.0.0.1, as docs/scale.md describes it. `proxy_next_upstream`
 * without `non_idempotent` never sends a POST a second time of which anything was sent before.
 */
export async function startNginx(directory: string, endpoints: readonly string[]): Promise<Nginx> {
  const home = join(directory, 'nginx')
  await mkdir(home)
  const port = await freePort()
  const file = join(home, 'nginx.conf')
  const access = join(home, 'access.log')
  await writeFile(
    file,
    `daemon off;
master_process off;
pid ${home}/nginx.pid;
error_log ${home}/error.log;
events { worker_connections 512; }
http {
  log_format attempts '$request_method|$uri|$status|$upstream_addr|$upstream_bytes_sent';
  access_log ${access} attempts;
  client_body_temp_path ${home}/body;
  proxy_temp_path ${home}/proxy;
  fastcgi_temp_path ${home}/fastcgi;
  uwsgi_temp_path ${home}/uwsgi;
  scgi_temp_path ${home}/scgi;
  client_max_body_size 32m;
  client_body_buffer_size 1m;
  upstream routers {
${endpoints.map((endpoint) => `    server ${new URL(endpoint).host} max_fails=1 fail_timeout=30s;`).join('\n')}
  }
  server {
    listen 127.0.0.1:${port};
    location / {
      proxy_pass http://routers;
      proxy_http_version 1.1;
      proxy_set_header Connection close;
      proxy_buffering off;
      proxy_connect_timeout 2s;
      proxy_read_timeout 600s;
      proxy_next_upstream error timeout;
    }
  }
}
`
  )
  const child = spawn('nginx', ['-p', home, '-e', join(home, 'error.log'), '-c', file], { stdio: 'ignore' })
  await untilListening(port, child)
  return {
    url: `http://127.0.0.1:${port}`,
    async log() {
      const lines = (await readFile(access, 'utf8')).split('\n').filter((line) => line !== '')
      return lines.map((line) => {
        const [method = '', path = '', status = '', upstreams = '', bytes = ''] = line.split('|')
        const sent = bytes.split(', ')
        return {
          method,
          path,
          status: Number(status),
          attempts: upstreams
            .split(', ')
            .map((upstream, index) => ({ upstream, bytesSent: Number(sent[index] === '-' ? 0 : sent[index]) }))
        }
      })
    },
    stop: () => ended(child)
  }
}

function ended(child: ChildProcess): Promise<void> {
  return new Promise((resolve) => {
    if (child.exitCode !== null) return resolve()
    child.once('close', () => resolve())
    child.kill('SIGTERM')
  })
}

async function untilListening(port: number, child: ChildProcess): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt++) {
    if (child.exitCode !== null) throw new Error(`nginx ended with ${child.exitCode}`)
    const answer = await fetch(`http://127.0.0.1:${port}/healthz`).catch(() => undefined)
    if (answer !== undefined) return
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  throw new Error('nginx does not answer')
}

function freePort(): Promise<number> {
  return new Promise((resolve) => {
    const server = createServer()
    server.listen(0, '127.0.0.1', () => {
      const { port } = server.address() as { port: number }
      server.close(() => resolve(port))
    })
  })
}
