import type { AzureSession } from '../azure/session.js'
import type { Config } from '../config/index.js'
import type { TrustPolicy } from '../client/index.js'
import type { Image } from '../image/index.js'
import type { JsonObject } from '../base/json.js'
import type { Sha256Hex } from '../base/digest.js'
import type { AttestationProvider } from '../azure/attestation.js'
import type { Identity } from '../azure/identity.js'
import type { Vault } from '../azure/key-vault.js'
import type { PropertyChange } from '../plan/properties.js'
import type { ResourceGroup } from '../azure/resource-group.js'
import type { SigningKey } from '../azure/signing-key.js'
import type { VaultKey } from '../azure/vault-key.js'
import type { SoftDeletedChoice } from './soft-deleted.js'
import type { StateFile } from './state.js'

/** What every step may use. All of it comes from the composition root, so a step reads no environment and no clock. */
export interface Run {
  readonly config: Config
  readonly azure: AzureSession
  readonly state: StateFile
  /** Where `policy` writes its files. */
  readonly policyDirectory: string
  readonly imageStore: ImageStore
  /** The router program and the files that the image and the template are made from. */
  readonly assets: Assets
  readonly trust: PlatformTrust
  /** Reads the provider keys where the configuration says they are. Only what seals or compares them asks, so that the other verbs need none. */
  readonly providerKeys: () => Promise<ProviderKeys>
  /** Token that the smoke test shows when `access.mode` is `token`. */
  readonly accessToken: string | undefined
  readonly fetch: typeof fetch
  /**
   * `fetch` that takes any certificate from the routers that it calls if `key` is `any`, and only one with this key
   * (SHA-256 of its SubjectPublicKeyInfo) otherwise: it then sends nothing to anybody else, and rejects with an
   * `OtherTlsKey` in its causes. For https URLs of a router alone, whose certificate no authority signs.
   */
  readonly routerFetch: (key: Sha256Hex | 'any') => typeof fetch
  readonly now: () => Date
  readonly signal: AbortSignal
  /** Role assignments are neither looked at nor made: somebody else has made them. */
  readonly skipRoles: boolean
  /** Address that the router binds inside its container. */
  readonly listenAddress: string
  readonly simulated: boolean
  /**
   * Asks for approval of a change of trust; rejects if it is not given. The first deployment of a name
   * is none.
   */
  readonly approveTrust: (change: TrustChange) => Promise<void>
  /** What to do with a deleted vault or key that still owns its name. Recovering is what loses nothing. */
  readonly softDeleted: () => SoftDeletedChoice
  /** How long `smoke` waits for the router to become ready, in seconds. */
  readonly readySeconds: number
}

/** The provider keys that the configuration needs, as far as they are to be had here. */
export interface ProviderKeys {
  /** By provider name. */
  readonly values: Readonly<Record<string, string>>
  /** The others, and why each is not there; no value is quoted. */
  readonly missing: readonly { readonly name: string; readonly reason: string }[]
}

export interface ImageStore {
  /** The OCI layout directory that the native builder writes to. */
  readonly layout: string
  /** Opens an image by reference, from the layout or from its registry. */
  open(reference: string): Promise<Image>
  /** Opens what a native build starts from, where the configuration says that it is. */
  openBase(reference: string): Promise<Image>
  /** Brings an image of the layout to where it is opened from; nothing where that is the layout itself. */
  publish(reference: string, note: Note): Promise<void>
  /** File that remembers root hashes by diff id. */
  readonly hashCache: string
}

export interface Assets {
  readonly version: string
  /** dist/router/router.cjs */
  readonly routerBundle: string
  /** Folder with the Dockerfile. */
  readonly buildContext: string
  readonly template: JsonObject
}

/** Whose hardware signs the evidence: AMD's and Microsoft's, or an emulator's own. */
export interface PlatformTrust {
  readonly roots: TrustPolicy['roots']
  readonly uvmIssuer: string | undefined
}

/** A change of who can obtain the key, or of what callers are told to trust. */
export interface TrustChange {
  readonly what: 'host data' | 'attestation authority' | 'conditions of release'
  readonly from: string
  readonly to: string
}

/** What the steps give each other. */
export interface Outputs {
  readonly image: { readonly reference: string; readonly digest: string }
  readonly 'resource-group': ResourceGroup
  readonly attestation: Pick<AttestationProvider, 'attestUri'>
  readonly vault: Vault
  readonly identity: Identity
  readonly roles: { readonly operator: string }
  readonly 'signing-key': SigningKey & {
    /** RFC 7638, SHA-256, base64url: what is measured. */
    readonly thumbprint: string
  }
  readonly policy: PolicyOutput
  readonly key: VaultKey
  readonly deploy: ReplicaOutput & {
    /** The groups beside this one, which serve the same; absent where there are none. */
    readonly replicas?: readonly ReplicaOutput[]
  }
  readonly smoke: {
    readonly checks: readonly SmokeCheck[]
    /** SHA-256 of the SubjectPublicKeyInfo of the router's TLS key, which the evidence binds; it lasts as long as the container. */
    readonly tlsKey?: Sha256Hex
  }
}

/** One container group as it is reached. */
export interface ReplicaOutput {
  /** The plain one, or the one with TLS if the group's address has no other. */
  readonly endpoint: string
  readonly tlsEndpoint?: string
  /** Name of the container group. */
  readonly group: string
  /** Where it is: an Azure region in its short form. */
  readonly region: string
  /** SHA-256 of the policy that the group was deployed with, which may differ from the one computed in this run. */
  readonly hostData: string
}

export interface PolicyOutput {
  readonly hostData: Sha256Hex
  readonly template: JsonObject
  readonly releasePolicy: string
  readonly trust: TrustPolicy
  readonly engine: 'native' | 'az' | 'both'
  readonly layers: readonly { readonly image: string; readonly rootHashes: readonly Sha256Hex[] }[]
  readonly files: {
    readonly policy: string
    readonly template: string
    readonly releasePolicy: string
    readonly trust: string
    readonly release: string
  }
  readonly warnings: readonly string[]
}

export interface SmokeCheck {
  readonly id: string
  readonly outcome: 'pass' | 'fail' | 'skipped'
  readonly detail: string
  readonly milliseconds: number
}

export type StepId = keyof Outputs

export type Action = 'create' | 'update' | 'replace' | 'none'

/** What a step found: nothing to do, or what to do and how. `apply` may be repeated after a kill. */
export type Finding<T> =
  | {
      readonly action: 'none'
      readonly output: T
      /** Why nothing is done, if not because it is unchanged. */
      readonly says?: string
      /** What was done that changes nothing, for example checks. */
      readonly did?: string
    }
  | {
      readonly action: Exclude<Action, 'none'>
      /** Why, in the user's words; shown before and while it is done. */
      readonly reason: string
      /** What is there now, if anything: enough to test it, not enough to build on it. */
      readonly existing?: T
      /** What it will give, where that is known before it is done: later steps are then planned against it. */
      readonly planned?: T
      /** What differs, one by one. No secret is among it. */
      readonly properties?: readonly PropertyChange[]
      apply(note: Note): Promise<T>
    }

/** Shows what a step is doing or waiting for. */
export type Note = (text: string) => void

export interface Step<Id extends StepId = StepId> {
  readonly id: Id
  readonly title: string
  readonly needs: readonly StepId[]
  /** Asks the cloud, changes nothing. */
  observe(run: Run, results: Results, note: Note): Promise<Finding<Outputs[Id]>>
}

/** Outputs of the steps that are done. Asking for one that a step did not declare in `needs` is a bug. */
export interface Results {
  get<Id extends StepId>(id: Id): Outputs[Id]
}
