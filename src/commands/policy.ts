import { Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import type { PolicyReport, PolicyRequest, PolicySubject } from '../steps/acipolicygen.js'
import type { App, Execute } from './app.js'
import { documentation, withOutput } from './options.js'

interface Options {
  readonly templateFile?: string
  readonly image?: string
  readonly inputFile?: string
  readonly virtualNodeYaml?: string
  readonly parameters?: string
  readonly tar?: string
  readonly approveWildcards?: boolean
  /** False with --no-input. */
  readonly input?: boolean
  readonly debugMode?: boolean
  readonly disableStdio?: boolean
  readonly enableStdio?: boolean
  readonly infrastructureSvn?: string
  readonly excludeDefaultFragments?: boolean
  readonly includeFragments?: boolean
  readonly fragmentsJson?: string
  readonly omitId?: boolean
  readonly outraw?: boolean
  readonly outrawPrettyPrint?: boolean
  readonly printPolicy?: boolean
  readonly printExistingPolicy?: boolean
  readonly diff?: boolean
  readonly fasterHashing?: boolean
  readonly identityEndpointRules?: boolean
  readonly refuseNullCommand?: boolean
  readonly warnMissingParents?: boolean
  readonly policyApi?: '0.10.0' | '0.11.0'
  readonly json?: boolean
}

/** The flags that name what a policy is made of, as acipolicygen has them; `confrouter.yaml` is named by none of them. */
const subjectFlag = /^(?:-[a-z]*[ai]|--(?:template-file|image|input|virtual-node-yaml)(?:=|$))/

/** Whether the arguments of `policy` are those of acipolicygen. */
export function isAcipolicygen(rest: readonly string[]): boolean {
  return rest.some((argument) => subjectFlag.test(argument))
}

/** `policy` in the form of `az confcom acipolicygen`. */
export function acipolicygenCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('what az confcom acipolicygen does, without Docker, Python or the Azure CLI')
    .addOption(new Option('-a, --template-file <file>', 'ARM template; its policies are written into it'))
    .addOption(new Option('--image <reference>', 'an image in place of a template; its policy is printed'))
    .addOption(inputOption())
    .addOption(
      new Option(
        '--virtual-node-yaml <file>',
        'Kubernetes manifest for virtual nodes; its policies are written into it'
      )
    )
    .addOption(new Option('-p, --parameters <file>', 'parameter file of the template'))
    .addOption(
      new Option('--tar <file>', 'where the images are: a tar, an OCI layout, or a JSON map from image to either')
    )
    .addOption(new Option('-y, --approve-wildcards', 'allow any value for variables whose parameters have none'))
    .addOption(new Option('--debug-mode', 'allow shells, stack dumps and logs; not for production'))
    .addOption(new Option('--disable-stdio', 'containers write to no log that the host can read'))
    .addOption(new Option('--enable-stdio', 'containers may write to logs; what neither flag gives as well'))
    .addOption(new Option('--infrastructure-svn <n>', 'lowest security version of the infrastructure fragment'))
    .addOption(new Option('-e, --exclude-default-fragments', 'import no infrastructure fragment'))
    .addOption(new Option('-f, --include-fragments', 'import the fragments of --fragments-json'))
    .addOption(new Option('-j, --fragments-json <file>', 'fragments to import'))
    .addOption(new Option('--omit-id', 'leave the image names out of the policy'))
    .addOption(new Option('--outraw', 'print the policy as text'))
    .addOption(new Option('--outraw-pretty-print', 'print it over many lines: other host data than what is injected'))
    .addOption(new Option('--print-policy', 'print the policy in base64'))
    .addOption(new Option('--print-existing-policy', 'print the policy that is in the template'))
    .addOption(new Option('-d, --diff', 'compare the policy in the template with what the template needs; exit code 2'))
    .addOption(new Option('--faster-hashing', 'taken for compatibility; has no effect'))
    .addOption(
      new Option('--identity-endpoint-rules', 'ours: allow the three variables that ACI sets since September 2026')
    )
    .addOption(
      new Option('--refuse-null-command', 'ours: an error for a container that has no command and never starts')
    )
    .addOption(new Option('--warn-missing-parents', 'ours: name layers that lack entries for parent directories'))
    .addOption(
      new Option('--policy-api <version>', 'version of the policy text').choices(['0.10.0', '0.11.0']).default('0.11.0')
    )
  // acipolicygen's -v checks a sidecar. Taken for --verbose it would do something else and say nothing of it.
  return withOutput(command, '--verbose').addHelpText('after', help).action(execute<Options>('policy', run))
}

/** Kept under a name of its own: `--no-input`, which every verb has, would otherwise be its opposite. */
function inputOption(): Option {
  const option = new Option('-i, --input <file>', 'an input file in place of a template; its policy is printed')
  option.attributeName = () => 'inputFile'
  return option
}

const help = `
Example:
  $ confrouter policy -a template.json --tar images.json

Exit codes:
  0 done, 1 any error, 2 --diff found differences, or a flag that is not known

Docs: ${documentation}/policy.md`

async function run(app: App, options: Options): Promise<void> {
  const dialogue = app.openDialogue()
  try {
    refuseConflicts(options)
    if (options.disableStdio !== true && options.enableStdio !== true) {
      app.terminal.warn('stdio stays enabled: give --disable-stdio or --enable-stdio to say which')
    }
    if (options.includeFragments === true) {
      app.terminal.warn(
        'fragments in registries are not looked up: containers that one of them covers stay in the policy'
      )
    }
    const { acipolicygen } = await import('../steps/acipolicygen.js')
    const report = await acipolicygen(requestOf(options), {
      tar: options.tar,
      openRegistryImage: (reference) => app.openRegistryImage(reference),
      ask: options.input === false ? undefined : dialogue.ask,
      note: (text) => app.terminal.info(text),
      warn: (text) => app.terminal.warn(text),
      warnMissingParents: options.warnMissingParents ?? false,
      signal: app.signal
    })
    app.terminal.result({ human: report.stdout, json: documentOf(report) })
    if (report.isDifferent) app.exitWith(2)
  } catch (error) {
    // acipolicygen has one exit code for all errors, and a pipeline that is made for it may know no other.
    if (!(error instanceof UserError) || error.fault === 'interrupted') throw error
    app.terminal.failure(error, { command: 'policy' })
    app.exitWith(1)
  } finally {
    dialogue.close()
  }
}

function documentOf({ groups, isDifferent, stdout }: PolicyReport): object {
  return { command: 'policy', groups, differs: isDifferent, output: stdout }
}

function requestOf(options: Options): PolicyRequest {
  const { debugMode, disableStdio, infrastructureSvn, excludeDefaultFragments, omitId } = options
  return {
    subject: subjectOf(options),
    options: {
      frame: options.policyApi ?? '0.11.0',
      debugMode: debugMode ?? false,
      disableStdio: disableStdio ?? false,
      excludeDefaultFragments: excludeDefaultFragments ?? false,
      omitId: omitId ?? false,
      platformIdentityRules: options.identityEndpointRules ?? false,
      refuseNullCommand: options.refuseNullCommand ?? false,
      ...(infrastructureSvn === undefined ? {} : { infrastructureSvn })
    },
    approveWildcards: options.approveWildcards === true,
    fragmentsFile: options.fragmentsJson,
    mode: modeOf(options)
  }
}

function subjectOf({ templateFile, image, inputFile, virtualNodeYaml, parameters }: Options): PolicySubject {
  if (templateFile !== undefined) return { kind: 'template', file: templateFile, parametersFile: parameters }
  if (image !== undefined) return { kind: 'image', reference: image }
  if (inputFile !== undefined) return { kind: 'input', file: inputFile }
  if (virtualNodeYaml !== undefined) return { kind: 'manifest', file: virtualNodeYaml }
  throw conflict('-a, --image, -i and --virtual-node-yaml are all missing')
}

function modeOf(options: Options): PolicyRequest['mode'] {
  if (options.printExistingPolicy === true) return 'existing'
  if (options.diff === true) return 'difference'
  if (options.outraw === true) return 'text'
  if (options.outrawPrettyPrint === true) return 'pretty'
  return options.printPolicy === true ? 'base64' : 'write'
}

function refuseConflicts(options: Options): void {
  const { templateFile, image, inputFile, outraw, outrawPrettyPrint, printPolicy, diff, printExistingPolicy } = options
  const count = (...given: readonly unknown[]) => given.filter((value) => value !== undefined && value !== false).length
  const noTemplate = templateFile === undefined
  const noFile = noTemplate && options.virtualNodeYaml === undefined
  const conflicts: readonly (readonly [boolean, string])[] = [
    [
      count(templateFile, image, inputFile, options.virtualNodeYaml) > 1,
      'two of -a, --image, -i and --virtual-node-yaml'
    ],
    [count(outraw, outrawPrettyPrint, printPolicy) > 1, 'two of --outraw, --outraw-pretty-print and --print-policy'],
    [options.parameters !== undefined && noTemplate, '--parameters without -a'],
    [diff === true && noFile, '--diff without -a'],
    [printExistingPolicy === true && noFile, '--print-existing-policy without -a'],
    [options.fasterHashing === true && options.tar !== undefined, '--faster-hashing and --tar'],
    [options.disableStdio === true && options.enableStdio === true, '--disable-stdio and --enable-stdio'],
    [
      options.fragmentsJson !== undefined && options.includeFragments !== true,
      '--fragments-json without --include-fragments'
    ]
  ]
  const found = conflicts.find(([isThere]) => isThere)
  if (found !== undefined) throw conflict(`${found[1]} do not go together`)
}

function conflict(problem: string): UserError {
  return new UserError('usage', 'usage.conflict', problem, { next: ['confrouter policy -a template.json --help'] })
}
