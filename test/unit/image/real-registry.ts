import { spawn } from 'node:child_process'
import { mkdirSync, writeFileSync } from 'node:fs'
import { createServer, type AddressInfo } from 'node:net'
import { join } from 'node:path'

export interface RealRegistry {
  readonly host: string
  stop(): void
}

/** Starts Debian's `docker-registry` on a free port of 127.0.0.1, with its data in `folder`; `auth` is of its configuration. */
export async function startRealRegistry(folder: string, auth?: object): Promise<RealRegistry> {
  const host = `127.0.0.1:${await freePort()}`
  const config = {
    version: 0.1,
    storage: { filesystem: { rootdirectory: join(folder, 'data') } },
    http: { addr: host },
    ...(auth === undefined ? {} : { auth })
  }
  mkdirSync(join(folder, 'data'))
  // YAML takes JSON.
  writeFileSync(join(folder, 'config.yml'), JSON.stringify(config))
  const registry = spawn('docker-registry', ['serve', join(folder, 'config.yml')], { stdio: 'ignore' })
  const stop = () => void registry.kill('SIGKILL')
  for (let attempt = 0; attempt < 200; attempt++) {
    if (await answers(`http://${host}/v2/`)) return { host, stop }
    await new Promise((resolve) => setTimeout(resolve, 50))
  }
  stop()
  throw new Error('docker-registry does not listen')
}

export async function freePort(): Promise<number> {
  const socket = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => socket.once('listening', resolve))
  const { port } = socket.address() as AddressInfo
  await new Promise((resolve) => socket.close(resolve))
  return port
}

async function answers(url: string): Promise<boolean> {
  try {
    return [200, 401].includes((await fetch(url)).status)
  } catch {
    return false
  }
}
