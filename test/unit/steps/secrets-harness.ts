import { signDigest } from '../../../src/emulator/services/keyvault/ecdsa.js'
import type { Run } from '../../../src/steps/run.js'
import type { SecretsKeys } from '../../../src/steps/sealed-secrets.js'
import type { State } from '../../../src/steps/state.js'
import { ecThumbprint } from '../../../src/seal/ec-key.js'
import { testSigner } from '../seal/signed-bundle.js'
import { vectorKey } from '../seal/test-keys.js'

/** Keys of a vault whose signing key is made from a name. */
export async function secretsKeysOfTests(signer = testSigner(), keyId = 'https://v/keys/k/1'): Promise<SecretsKeys> {
  const { publicKey } = signer
  const [id, thumbprint] = ['https://v/keys/k-secrets/1', await ecThumbprint(publicKey)]
  return {
    vaultUri: 'https://v',
    key: { id: keyId, publicKey: (await vectorKey()).publicJwk },
    signer: { id, name: 'k-secrets', version: '1', publicKey, thumbprint }
  }
}

export interface SecretsSituation {
  /** Of providers with apiKey; all that have a value if left out. */
  readonly needed?: readonly string[]
  /** What the sources hold. */
  readonly values?: Readonly<Record<string, string>>
  readonly state?: Partial<State>
  readonly signer?: ReturnType<typeof testSigner>
  /** The container group as Azure shows it; there is none if left out. */
  readonly group?: object
  /** Those beside it, by name. */
  readonly others?: Readonly<Record<string, object>>
  /** Is told of each deletion. */
  readonly onDelete?: (name: string) => void
  readonly config?: object
}

/** A run with what the sealed secrets need of one, and no more. `state` changes as `update` says. */
export function secretsRun({ values = { openai: 'k' }, ...given }: SecretsSituation = {}): Run {
  const needed = given.needed ?? Object.keys(values)
  const { signal } = new AbortController()
  const signer = given.signer ?? testSigner()
  let state = { created: [], ...given.state } as unknown as State
  const cryptography = {
    sign: async (_: string, digest: Uint8Array) => ({ result: signDigest(signer.privateKey, 'P-256', digest) })
  }
  const groups: Readonly<Record<string, object>> = {
    ...(given.group === undefined ? {} : { g: given.group }),
    ...given.others
  }
  const absent = Object.assign(new Error('absent'), { statusCode: 404, code: 'ResourceNotFound' })
  return {
    config: {
      resourceGroup: 'r',
      containerGroup: { name: 'g', cpu: 1, memoryGb: 1, port: 8080, replicas: 1, regions: ['eastus'] },
      location: 'eastus',
      sidecar: { cpu: 1, memoryGb: 1 },
      router: {},
      providers: Object.fromEntries(needed.map((name) => [name, { apiKey: { env: `${name.toUpperCase()}_KEY` } }])),
      ...given.config
    },
    azure: {
      subscriptionId: 's',
      signal,
      environment: { roleWaitSeconds: 0, pollIntervalMs: 1 },
      keys: async () => ({ getCryptographyClient: () => cryptography }),
      containers: async () => ({
        containerGroups: {
          get: async (_: string, name: string) => {
            if (groups[name] === undefined) throw absent
            return groups[name]
          },
          listByResourceGroup: async function* () {
            for (const name of Object.keys(groups)) yield { name }
          },
          beginDeleteAndWait: async (_: string, name: string) => given.onDelete?.(name)
        }
      }),
      resources: async () => ({ deployments: { get: () => Promise.reject(absent) } })
    },
    state: {
      get: () => state,
      update: async (change: (before: State) => State) => {
        state = change(state)
      }
    },
    now: () => new Date(1_790_000_000_000),
    providerKeys: async () => ({
      values: Object.fromEntries(Object.entries(values).filter(([name]) => needed.includes(name))),
      missing: needed
        .filter((name) => !Object.hasOwn(values, name))
        .map((name) => ({ name, reason: `${name}: variable ${name.toUpperCase()}_KEY is not set` }))
    })
  } as unknown as Run
}
