import type { DoctorCheck, Run, SoftDeletedChoice, TrustChange } from '../steps/index.js'
import type { VerifiedEvidence } from '../client/index.js'
import type { Image } from '../release/index.js'
import type { LineDialogue, Terminal } from '../terminal/index.js'
import type { ApprovalOptions, SharedOptions } from './options.js'

/**
 * `read` looks at what is there and starts nothing; `preview` looks at what would be made and so wants the
 * cloud to be there, on loopback too; `write` takes the lock as well.
 */
export type Access = 'read' | 'preview' | 'write'

/** What the composition root gives to the verbs. */
export interface App {
  readonly terminal: Terminal
  readonly signal: AbortSignal
  /** Reads the configuration, opens cloud, state and (unless it is only a look) the lock. */
  open(command: string, options: SharedOptions & ApprovalOptions, access: Access): Promise<Session>
  /** The checks that `doctor` makes, and the cloud that they are about. Starts nothing. */
  doctor(options: SharedOptions): Promise<{ readonly checks: readonly DoctorCheck[]; readonly cloud: string }>
  readonly emulator: EmulatorControl
  /** The exit code of a result that is no error, such as that of a comparison that found differences. */
  exitWith(code: number): void
  /** Questions on stdout, answered by lines of stdin; with --no-input none is read. */
  openDialogue(): LineDialogue
  /** Opens an image at its registry, with the credentials that docker has on this machine. */
  openRegistryImage(reference: string): Promise<Image>
  /** What a verification needs of this machine. */
  verification(options: { readonly local?: boolean; readonly stateDir: string }): Promise<VerificationAccess>
  /** All of stdin as text; a `UserError` if nothing is piped into it. */
  readStdin(): Promise<string>
  /** Text of `templates/confrouter.yaml`. */
  starterConfig(): Promise<string>
  /** Text of the pipeline in `templates`, for this version of the package. */
  pipeline(kind: 'github' | 'azure-pipelines'): Promise<string>
}

export interface VerificationAccess {
  /** Accepts the certificate of the emulator where one is asked for, and reads evidence over a router's own TLS. */
  readonly fetch: typeof fetch
  /** For calls to a router that is verified. */
  readonly transport: (evidence: VerifiedEvidence) => typeof fetch
  /** Whether evidence came from here over TLS with a certificate that nobody has signed. */
  readonly isUnsigned: (url: string) => boolean
  /** Opens a published image; on loopback one of the emulator's. */
  openImage(this: void, reference: string): Promise<Image>
  /** Where this program is: its source, if it runs from a checkout. */
  readonly packageFolder: string
  /** The router that was deployed from the state directory. */
  readonly deployment:
    | {
        readonly url: string
        readonly trustFile: string
        readonly releaseFile: string
        /** Where its addresses stand, if any were published. */
        readonly addressesFile?: string | undefined
      }
    | undefined
}

/** One deployment, opened for one command. */
export interface Session {
  readonly run: Run
  /** Questions are asked on clouds where a change costs something; never on loopback. */
  readonly asks: boolean
  /** Whether a flag or a person has approved this change of trust. */
  isAccepted(change: TrustChange): boolean
  accept(change: TrustChange): void
  /** Answers what becomes of deleted things that own their names; undefined until somebody has. */
  softDeleted: SoftDeletedChoice | undefined
  /** A variable of the environment or of `.env` beside the configuration. */
  variable(this: void, name: string): string | undefined
  /** Ends what was started to hold the deployment, once nothing is left in it; absent where nothing was. */
  readonly endCloud?: () => Promise<unknown>
  close(): Promise<void>
}

export interface EmulatorStatus {
  readonly running: boolean
  readonly directory: string
  readonly pid?: number
  readonly armEndpoint?: string
}

export interface EmulatorControl {
  start(options: EmulatorOptions): Promise<EmulatorStatus>
  /** Runs it in this process until it is interrupted. */
  serve(options: EmulatorOptions): Promise<void>
  stop(options: { readonly stateDir: string }): Promise<EmulatorStatus>
  status(options: { readonly stateDir: string }): Promise<EmulatorStatus>
  /** What other programs need to use it. Fails with a `UserError` `emulator.not-running`. */
  settings(options: { readonly stateDir: string }): Promise<EmulatorSettings>
  /** Stops it and deletes its state. */
  reset(options: { readonly stateDir: string }): Promise<EmulatorStatus>
}

export interface EmulatorSettings {
  /** Environment variables of the real `az` and of the Azure SDKs. One of them is the operator's secret. */
  readonly variables: Readonly<Record<string, string>>
  /** Commands by which `az` learns of this cloud and logs in; each is done once. */
  readonly azSetup: readonly string[]
}

export interface EmulatorOptions {
  readonly stateDir: string
  readonly port?: number | undefined
  readonly rbacDelay?: number | undefined
  /** File of the fault plan. */
  readonly faults?: string | undefined
}

/** Wraps a verb: builds the app, runs it, renders what it throws and sets the exit code. */
export type Execute = <Options extends { readonly json?: boolean }>(
  name: string,
  verb: (app: App, options: Options) => Promise<void>
) => (options: Options) => Promise<void>
