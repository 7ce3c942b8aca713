import { type Command, InvalidArgumentError, Option } from 'commander'

/** What every verb that acts on a deployment takes. */
export interface SharedOptions {
  readonly config?: string
  readonly cloud?: string
  readonly local?: boolean
  readonly engine?: string
  readonly auth?: string
  /** False for `--no-roles`. */
  readonly roles?: boolean
  readonly stateDir?: string
  /** Of the verbs that upgrade. */
  readonly strategy?: string
  readonly json?: boolean
  readonly yes?: boolean
  readonly input: boolean
  readonly verbose?: boolean
  readonly quiet?: boolean
  readonly color: boolean
}

/** Where the pages of `docs` are on the web. */
export const documentation = 'https://github.com/confrouter/confrouter/blob/main/docs'

const exitCodes = `
Exit codes:
  0 done, 1 unexpected, 2 usage, 3 configuration, 4 this machine, 5 remote failed or could not check,
  6 evidence rejected, 7 declined or input needed, 10 there are differences, 130 interrupted

Docs: ${documentation}/errors.md`

/** The flags that say how to talk; every verb has them, if need be without the letter for `--verbose`. */
export function withOutput(command: Command, verbose = '-v, --verbose'): Command {
  return command
    .addOption(new Option('--json', 'print the result as one JSON document on stdout'))
    .addOption(new Option('--no-input', 'never ask; an answer that is needed is an error'))
    .addOption(new Option(verbose, 'show more of what is done'))
    .addOption(new Option('-q, --quiet', 'show errors only'))
    .addOption(new Option('--no-color', 'no colour'))
}

/** One definition of each shared flag: same name, same words, same variable everywhere. */
export function withDeployment(command: Command, example: string): Command {
  return withOutput(
    command
      .addOption(new Option('--config <file>', 'configuration file').env('CONFROUTER_CONFIG'))
      .addOption(new Option('--cloud <name>', 'azure, azure-usgov, azure-china or local'))
      .addOption(new Option('--local', 'the same as --cloud local: Azure on loopback, no account needed'))
      .addOption(new Option('--engine <name>', 'policy engine: auto, native, az, or both compared'))
      .addOption(
        new Option('--auth <method>', 'how to log in to Azure: auto, azcli, oidc, sp or msi')
          .env('CONFROUTER_AUTH')
          .choices(['auto', 'azcli', 'oidc', 'sp', 'msi'])
      )
      .addOption(new Option('--no-roles', 'leave the role assignments as they are, for who may not make any'))
      .addOption(
        new Option('--state-dir <dir>', 'folder for state, policy and images')
          .env('CONFROUTER_STATE_DIR')
          .default('.confrouter')
      )
  ).addHelpText('after', `\nExample:\n  $ ${example}\n${exitCodes}`)
}

/** Flags of the verbs that change something. */
export function withApproval(command: Command): Command {
  return command
    .addOption(new Option('-y, --yes', 'answer yes to the plan; does not cover a change of trust'))
    .addOption(
      new Option('--accept-host-data <hex>', 'approve that the key is released to exactly this host data').argParser(
        hostData
      )
    )
    .addOption(
      new Option(
        '--soft-deleted <what>',
        'a deleted vault or key that owns its name: recover it, or purge it, which cannot be undone'
      ).choices(['recover', 'purge'])
    )
    .addOption(
      new Option('--accept-authority <url>', 'approve that tokens of exactly this attestation provider are believed')
    )
}

export interface ApprovalOptions {
  readonly softDeleted?: 'recover' | 'purge'
  readonly acceptHostData?: string
  readonly acceptAuthority?: string
}

function hostData(text: string): string {
  if (!/^[0-9a-f]{64}$/.test(text)) throw new InvalidArgumentError('expected 64 lower-case hex characters')
  return text
}

export function helpEnd(example: string): string {
  return `\nExample:\n  $ ${example}\n${exitCodes}`
}
