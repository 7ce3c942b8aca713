import { homedir } from 'node:os'
import { join } from 'node:path'
import { dockerCredentialSource } from '../image/index.js'

/** The credentials for registries that docker has on this machine, its helpers included. */
export function dockerCredentials(
  environment: Readonly<Record<string, string | undefined>>,
  signal: AbortSignal
): ReturnType<typeof dockerCredentialSource> {
  const folder = environment['DOCKER_CONFIG'] ?? join(homedir(), '.docker')
  return dockerCredentialSource({
    configFile: join(folder, 'config.json'),
    runHelper: async (helper, server) => {
      const { runCredentialHelper } = await import('../exec/index.js')
      return runCredentialHelper(helper, server, signal)
    }
  })
}
