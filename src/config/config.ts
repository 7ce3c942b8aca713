import type { OciDigest, Sha256Hex } from '../base/digest.js'
import type { routerLimits, routerNumbers } from './router-numbers.js'
import type { Cloud } from './schema.js'

/** The resolved configuration: checked, every name filled in. Only {@link parseConfig} makes one. */
export interface Config {
  /** Base name; the other names follow from it. */
  readonly name: string
  readonly cloud: Cloud
  readonly subscription: string
  readonly tenant?: string | undefined
  readonly location: string
  readonly resourceGroup: string
  readonly image: ImageConfig
  /** To be created, or an existing service by its endpoint (https, no trailing slash). */
  readonly attestation:
    { readonly name: string; readonly endpoint?: undefined } | { readonly endpoint: string; readonly name?: undefined }
  readonly keyVault: { readonly name: string; readonly retentionDays: number; readonly purgeProtection: boolean }
  readonly identity: { readonly name: string }
  readonly key: { readonly name: string; readonly size: 2048 | 3072 | 4096 }
  readonly containerGroup: {
    readonly name: string
    readonly cpu: number
    readonly memoryGb: number
    readonly port: number
    readonly dnsLabel?: string | undefined
    /** How many groups run in each region under the one policy, 1 or more. */
    readonly replicas: number
    /** Where they run, one or more, none twice; the first one is told to callers first. */
    readonly regions: readonly string[]
  }
  readonly sidecar: {
    readonly image: string
    readonly port: number
    readonly cpu: number
    readonly memoryGb: number
  }
  readonly policy: { readonly engine: 'auto' | 'az' | 'native' | 'both' }
  readonly access: AccessConfig
  readonly providers: Readonly<Record<string, ProviderConfig>>
  readonly router: RouterConfig
  readonly upgrade: {
    readonly strategy: 'blue-green' | 'replace'
    /** How long the old group goes on after the address has moved. */
    readonly drainSeconds: number
  }
  readonly smoke: { readonly model?: string | undefined }
  readonly encryption: 'optional' | 'required'
  readonly operator: { readonly role: 'administrator' | 'crypto-officer' }
  readonly emulator: { readonly port?: number | undefined }
}

export interface ImageConfig {
  /** With its registry, without tag and digest. */
  readonly repository: string
  readonly builder: 'docker' | 'podman' | 'buildah' | 'native'
  /** What a native build starts from, with its digest; absent where nothing is built so, and on loopback. */
  readonly base?: string | undefined
  /** OCI layout or archive that has the base; its registry if absent. As written: relative to the file. */
  readonly baseFrom?: string | undefined
  /** An existing image: nothing is built. */
  readonly digest?: OciDigest | undefined
  readonly tag?: string | undefined
}

export interface AccessConfig {
  readonly mode: 'open' | 'token'
  /** SHA-256 of the UTF-8 of each token; empty unless the mode is `token`. */
  readonly tokensSha256: readonly Sha256Hex[]
  /** Of one caller. Always set when the mode is open and a provider has a router-owned key. */
  readonly rateLimitPerMinute?: number | undefined
}

export interface ProviderConfig {
  /** Absent for built-in providers at their usual address. No trailing slash. */
  readonly baseUrl?: string | undefined
  /** Where synchronous calls go, if not there. No trailing slash. */
  readonly syncUrl?: string | undefined
  readonly auth?: 'Bearer' | 'Key' | 'x-api-key' | 'api-key' | 'none' | undefined
  /** Where the router-owned key is read when it is sealed; never the key itself. */
  readonly apiKey?: ApiKeySource | undefined
  /** Whether callers without a key of their own may use the provider's whole API with the router's. */
  readonly accountAccess?: boolean | undefined
  readonly allowPrivate?: boolean | undefined
  readonly default?: boolean | undefined
}

/** How the router serves, with its own defaults filled in. */
export interface RouterConfig extends Readonly<Record<keyof typeof routerNumbers, number>> {
  /** Absent for a router without TLS. `only` leaves the plain port out of the group's public address. */
  readonly tls?: { readonly port: number; readonly only: boolean } | undefined
  /** Model → the models to try after it. */
  readonly fallbacks: Readonly<Record<string, readonly string[]>>
  readonly metrics: 'open' | 'token' | 'off'
  readonly limits: Readonly<Record<keyof typeof routerLimits, number>>
}

export type ApiKeySource =
  { readonly env: string; readonly file?: undefined } | { readonly file: string; readonly env?: undefined }
