import { execFile } from 'node:child_process'
import { writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import process from 'node:process'
import { promisify } from 'node:util'
import { accepts, freePort, makeFolder, removeFolder, startMeasured } from '../lib/programs.js'

const version = '1.15.2'

/** It has no option for the address that it listens on, and would take all of them. */
const onLoopback = `data:text/javascript,${encodeURIComponent(`
  import net from 'node:net'
  const { listen } = net.Server.prototype
  net.Server.prototype.listen = function (port, host, done) { return listen.call(this, port, '127.0.0.1', done) }
`)}`

/**
 * Fetches Portkey's gateway from the npm registry into a folder that is deleted afterwards, and
 * starts it. Throws if it cannot be had.
 */
export async function startPortkey() {
  const folder = makeFolder(tmpdir())
  try {
    await install(folder)
    const port = await freePort()
    const script = join(folder, 'node_modules', '@portkey-ai', 'gateway', 'build', 'start-server.js')
    const program = await startMeasured(
      process.execPath,
      ['--import', onLoopback, script, `--port=${port}`, '--headless'],
      { cwd: folder, env: { NODE_ENV: 'production' }, ready: accepts(port) }
    )
    return {
      ...program,
      name: 'Portkey',
      version,
      port,
      stop: async () => {
        await program.stop()
        removeFolder(folder)
      }
    }
  } catch (error) {
    removeFolder(folder)
    throw error
  }
}

/** How a call tells Portkey where to go. */
export const portkeyHeaders = (upstreamPort) => ({
  'x-portkey-provider': 'openai',
  'x-portkey-custom-host': `http://127.0.0.1:${upstreamPort}/v1`
})

async function install(folder) {
  writeFileSync(join(folder, 'package.json'), '{"private":true}')
  const arguments_ = ['install', '--ignore-scripts', '--no-audit', '--no-fund', `@portkey-ai/gateway@${version}`]
  try {
    await promisify(execFile)('npm', arguments_, { cwd: folder, timeout: 90_000 })
  } catch {
    throw new Error('could not be installed from the npm registry')
  }
}
