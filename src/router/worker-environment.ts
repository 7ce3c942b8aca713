import type { Environment } from './settings.js'

/** What Node, OpenSSL and the C library read by themselves. */
const ofTheRuntime = /^(NODE_|SSL_CERT_|OPENSSL_|UV_|LC_|MALLOC_)|^(PATH|HOME|LANG|TZ|TMPDIR|LD_LIBRARY_PATH)$/

/** What only the primary needs: it sends what it makes of them. */
const ofThePrimary = new Set([
  'OPENAI_API_KEY',
  'OPENROUTER_API_KEY',
  'FAL_KEY',
  'CONFROUTER_SECRETS',
  'CONFROUTER_SECRETS_FILE'
])

/**
 * Takes everything out of the environment of this process that a process started by it would get and
 * that is not of the runtime: what stands there can be read from outside of a process.
 */
export function withholdEnvironment(environment: NodeJS.ProcessEnv): void {
  for (const name of Object.keys(environment)) {
    if (!ofTheRuntime.test(name)) delete environment[name]
  }
}

/** The variables that a worker is told, over the channel. */
export const environmentOfWorker = (environment: Environment): Environment =>
  Object.fromEntries(Object.entries(environment).filter(([name]) => !ofThePrimary.has(name)))
