import { UserError } from '../base/user-error.js'
import { CheckError } from '../client/index.js'
import { routerAt } from './router-call.js'
import type { Note, ReplicaOutput, Results, Run } from './run.js'
import {
  checkContainers,
  checkDeployedPolicy,
  checkEvidence,
  CheckFailure,
  checkHealth,
  checkReady,
  checkTls,
  checkVaultKey
} from './smoke-checks.js'

/**
 * Waits until a group that stands beside the first one serves, and checks that what it serves with is the same: ready,
 * evidence for the same host data, and in it the vault's key. Needs `policy` and `key`.
 *
 * @returns what was checked, in words
 * @throws UserError that names the group
 */
export async function checkReplica(run: Run, results: Results, output: ReplicaOutput, note: Note): Promise<string> {
  const own: Results = {
    get: (id) => (id === 'deploy' ? (output as ReturnType<typeof results.get<typeof id>>) : results.get(id))
  }
  const router = routerAt(run, output.endpoint, 'any')
  const say = (text: string) => note(`"${output.group}": ${text}`)
  try {
    checkDeployedPolicy(own)
    await checkContainers(run, own)
    await checkHealth(run, own, router)
    await checkReady(run, own, router, say)
    const { accepted } = await checkEvidence(run, own, router)
    const key = await checkVaultKey(own, accepted)
    if (output.tlsEndpoint !== undefined) await checkTls(run, output.tlsEndpoint, accepted)
    return `ready at ${output.endpoint}; ${key}`
  } catch (error) {
    throw asUserError(error, output)
  }
}

function asUserError(error: unknown, { group }: ReplicaOutput): unknown {
  if (error instanceof CheckFailure) {
    return new UserError(error.fault, error.code, `replica "${group}": ${error.detail}`, error.more)
  }
  if (error instanceof CheckError) {
    return new UserError('cloud', 'smoke.could-not-check', `replica "${group}": ${error.message}`, {
      next: ['confrouter status', 'confrouter up'],
      cause: error
    })
  }
  return error
}
