// The router as the image has it: one file, started with an environment and a sidecar.
import { closeSync, existsSync, openSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import process from 'node:process'
import { freePort, inMemory, makeFolder, removeFolder, startMeasured } from '../lib/programs.js'

const built = join(import.meta.dirname, '..', '..', 'dist', 'router', 'router.cjs')

/** Everything is from 127.0.0.1, so all of it counts as one caller. */
const withoutLimits = {
  CONFROUTER_CALLS_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_MINUTE: '1000000',
  CONFROUTER_MAX_CONCURRENT_CALLS: '20000',
  CONFROUTER_MAX_CALLS_PER_CALLER: '20000',
  CONFROUTER_SHUTDOWN_SECONDS: '1'
}

/**
 * Starts the router before an upstream that callers reach with a key of their own. Its log goes to
 * a file in the folder `place`, as a container's does. `bundle` is another build of it; `profile` is a
 * folder for a CPU profile.
 */
export async function startRouter({
  upstreamPort,
  sidecarUrl,
  environment = {},
  bundle = built,
  place = inMemory,
  profile
}) {
  if (!existsSync(bundle)) throw new Error(`there is no ${bundle}; run npm run build`)
  const folder = makeFolder(place)
  const port = await freePort()
  writeFileSync(join(folder, 'security-policy-base64'), Buffer.from('package policy\n').toString('base64'))
  const log = openSync(join(folder, 'log'), 'w')
  const arguments_ =
    profile === undefined ? [] : ['--cpu-prof', '--cpu-prof-interval=1000', `--cpu-prof-dir=${profile}`]
  const program = await startMeasured(process.execPath, [...arguments_, bundle], {
    cwd: folder,
    stdio: ['ignore', log, log],
    env: {
      NODE_ENV: 'production',
      HOST: '127.0.0.1',
      PORT: String(port),
      SKR_URL: sidecarUrl,
      MAA_ENDPOINT: 'https://sharedweu.weu.attest.azure.net',
      AKV_ENDPOINT: 'https://conftest.vault.azure.net',
      KID: 'default',
      ACCESS_MODE: '',
      ACCESS_TOKENS: '',
      RATE_LIMIT_PER_MINUTE: '',
      ENCRYPTION: '',
      UVM_SECURITY_CONTEXT_DIR: folder,
      CONFROUTER_PROVIDERS: JSON.stringify({
        bench: { baseUrl: `http://127.0.0.1:${upstreamPort}/v1`, allowPrivate: true }
      }),
      ...withoutLimits,
      ...environment
    },
    ready: () =>
      fetch(`http://127.0.0.1:${port}/readyz`).then(
        ({ ok }) => ok,
        () => false
      )
  })
  return {
    ...program,
    name: 'router',
    port,
    logPath: join(folder, 'log'),
    stop: async (signal) => {
      await program.stop(signal)
      closeSync(log)
      removeFolder(folder)
    }
  }
}

/** The router's X25519 key. Taken unverified: there is no hardware here whose evidence would say anything. */
export async function readHpkeKey(port) {
  const evidence = await (await fetch(`http://127.0.0.1:${port}/.well-known/confrouter`)).json()
  const { confrouter } = JSON.parse(Buffer.from(evidence.runtimeData, 'base64').toString())
  return Buffer.from(confrouter.hpke, 'base64url')
}
