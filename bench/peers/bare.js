import process from 'node:process'
import { fileURLToPath } from 'node:url'
import { accepts, freePort, startMeasured } from '../lib/programs.js'

/** Starts the bare Node proxy; `nodeOptions` is for Node itself. */
export async function startBare({ upstreamPort, nodeOptions = '' }) {
  const port = await freePort()
  const script = fileURLToPath(import.meta.resolve('./bare-proxy.js'))
  const program = await startMeasured(process.execPath, [script, String(port), String(upstreamPort)], {
    env: { NODE_ENV: 'production', NODE_OPTIONS: nodeOptions },
    ready: accepts(port)
  })
  return { ...program, name: 'bare Node', port }
}
