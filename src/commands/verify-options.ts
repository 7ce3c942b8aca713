import { Command, InvalidArgumentError, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import { isHttpsOrigin } from '../client/http.js'
import type { PinOptions } from './verify-pin.js'
import { type TrustOptions, ways } from './verify-trust.js'

export interface VerifyOptions extends TrustOptions, PinOptions {
  readonly evidence?: string
  readonly at?: Date
  readonly save?: string
  readonly local?: boolean
  readonly stateDir: string
  readonly json?: boolean
  readonly quiet?: boolean
}

/** The command with its flags, before anything is done. */
export function verifyFlags(): Command {
  return new Command('verify')
    .description("verify a router's evidence; needs no Azure account")
    .argument('[url]', 'the router; left out: the one that this state directory has deployed')
    .addOption(new Option('--trust <file>', 'trust policy, as `confrouter policy` writes it'))
    .addOption(
      new Option('--host-data <hex>', 'host data that is accepted, or "any"; may be given several times').argParser(
        repeated(hostData)
      )
    )
    .addOption(new Option('--release <file>', 'accept the host data of a published release'))
    .addOption(
      new Option('--rebuild', 'build the release again from this source and compare, before anything is accepted')
    )
    .addOption(
      new Option('--image <reference>', 'work the policy out again from this published image, with the template of')
    )
    .addOption(new Option('--template <file>', 'the ARM template for --image, where there is no --release'))
    .addOption(
      new Option('--maa <origin>', 'attestation service that is accepted; may be given several times').argParser(
        repeated(origin)
      )
    )
    .addOption(
      new Option('--via <way>', 'the report of the hardware, the token of the service, or both')
        .choices(ways)
        .default('both')
    )
    .addOption(new Option('--evidence <file>', 'verify saved evidence, with no network'))
    .addOption(new Option('--at <time>', 'the time of verification, in UTC: 2026-01-31T12:00:00Z').argParser(time))
    .addOption(new Option('--save <file>', 'keep the evidence, to be verified again'))
    .addOption(new Option('--local', 'a router on loopback: trust the certificate of its emulator'))
    .addOption(
      new Option('--state-dir <dir>', 'folder of the deployment').env('CONFROUTER_STATE_DIR').default('.confrouter')
    )
}

/** Throws a {@link UserError} `usage.conflict` for flags that contradict each other. */
export function refuseConflicts(url: string | undefined, options: VerifyOptions): void {
  const conflicts: readonly (readonly [boolean, string])[] = [
    [url !== undefined && options.evidence !== undefined, 'a URL and --evidence exclude each other'],
    [options.hostData !== undefined && options.release !== undefined, '--host-data and --release exclude each other'],
    [options.hostData !== undefined && options.image !== undefined, '--host-data and --image exclude each other'],
    [options.image !== undefined && options.rebuild === true, '--image and --rebuild exclude each other'],
    [options.template !== undefined && options.release !== undefined, '--template and --release exclude each other'],
    [
      options.evidence !== undefined && options.via === 'maa',
      '--via maa cannot be asked of saved evidence, which brings the keys of the attestation service along'
    ],
    [options.save !== undefined && options.evidence !== undefined, '--save and --evidence exclude each other'],
    [options.maa !== undefined && options.via === 'hardware', '--maa and --via hardware exclude each other'],
    [options.at !== undefined && options.evidence === undefined, '--at needs --evidence'],
    [options.template !== undefined && options.image === undefined, '--template needs --image']
  ]
  for (const [isThere, problem] of conflicts) {
    if (isThere) throw new UserError('usage', 'usage.conflict', problem, { next: ['confrouter verify --help'] })
  }
}

/** What to run instead where the router is one of the emulator's. */
export const proposeLocal = 'confrouter verify --local   (a router that `confrouter up --local` has started)'

const repeated =
  (parse: (text: string) => string) =>
  (text: string, before: readonly string[] | undefined): readonly string[] => [...(before ?? []), parse(text)]

function hostData(text: string): string {
  if (text !== 'any' && !/^[0-9a-f]{64}$/.test(text)) {
    throw new InvalidArgumentError('expected 64 lower-case hex characters, or "any"')
  }
  return text
}

function origin(text: string): string {
  if (isHttpsOrigin(text)) return text
  throw new InvalidArgumentError(
    'expected an https origin without a path, such as https://sharedeus.eus.attest.azure.net'
  )
}

function time(text: string): Date {
  const date = new Date(text)
  if (!/^\d{4}-\d\d-\d\dT\d\d:\d\d(?::\d\d(?:\.\d+)?)?Z$/.test(text) || Number.isNaN(date.getTime())) {
    throw new InvalidArgumentError('expected a time in UTC, such as 2026-01-31T12:00:00Z')
  }
  return date
}
