import { access, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { UserError } from '../base/user-error.js'
import type { VerificationAccess } from '../commands/app.js'
import { openLayoutImage, openRegistryImage } from '../image/index.js'
import { recordedDeployment } from '../steps/index.js'
import { dockerCredentials } from './docker-credentials.js'
import { runningEmulator } from './local-cloud.js'
import { packageRoot } from './package-files.js'
import { routerTransport } from './router-transport.js'

/**
 * What a verification needs of this machine: a way to call the router and its attestation service, and
 * the deployment of the state directory if there is one. Starts nothing and needs no account.
 */
export async function openVerification(
  { local, stateDir }: { readonly local?: boolean; readonly stateDir: string },
  {
    environment,
    signal
  }: { readonly environment: Readonly<Record<string, string | undefined>>; readonly signal: AbortSignal }
): Promise<VerificationAccess> {
  const recorded = await recordedDeployment(stateDir)
  const deployment =
    recorded === undefined
      ? undefined
      : {
          url: recorded.endpoint,
          trustFile: join(stateDir, 'policy', 'trust.json'),
          releaseFile: join(stateDir, 'policy', 'release.json'),
          addressesFile: await existing(join(stateDir, 'policy', 'addresses.json'))
        }
  if (local !== true) {
    return {
      ...routerTransport(await patientFetch(undefined)),
      openImage: (reference) =>
        openRegistryImage({ reference, fetch, credentials: dockerCredentials(environment, signal) }),
      packageFolder: packageRoot,
      deployment: recorded?.cloud === 'local' ? undefined : deployment
    }
  }
  const emulator = await runningEmulator(stateDir)
  if (emulator === undefined) {
    throw new UserError('machine', 'emulator.not-running', `no emulator runs for ${stateDir}`, {
      next: ['confrouter up --local', `confrouter emulator start --state-dir ${stateDir}`]
    })
  }
  return {
    ...routerTransport(await patientFetch(await readFile(emulator.caFile, 'utf8'))),
    openImage: (reference) => openLayoutImage(emulator.imageLayout, reference),
    packageFolder: packageRoot,
    deployment
  }
}

const existing = (file: string): Promise<string | undefined> =>
  access(file).then(
    () => file,
    () => undefined
  )

/** `fetch` without the time-outs of Node's own, which would end an answer that is long in coming; with `ca` it accepts only that. */
async function patientFetch(ca: string | undefined): Promise<typeof fetch> {
  const { Agent, fetch: undiciFetch } = await import('undici')
  const dispatcher = new Agent({ headersTimeout: 0, bodyTimeout: 0, ...(ca === undefined ? {} : { connect: { ca } }) })
  return ((target: string, options: object) =>
    undiciFetch(target, { ...options, dispatcher })) as unknown as typeof fetch
}
