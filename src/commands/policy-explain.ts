import { Command, Option } from 'commander'
import type { ExplainedContainer, PolicyExplanation } from '../policy/index.js'
import { onOneLine, quotedText } from '../policy/printable-text.js'
import { renderTable, type TableRow } from '../terminal/table.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { generatedPolicy } from './policy-generated.js'

interface Options extends SharedOptions {
  readonly explain: string | true
}

/** `policy --explain [file]`: what each container of a policy may do. */
export function explainCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('what a policy allows, container by container; writes nothing')
    .addOption(
      new Option(
        '--explain [file]',
        'policy.rego, its base64, a template, release.json or a manifest; the policy of this source if not given'
      )
    )
  return withDeployment(command, 'confrouter policy --explain .confrouter/policy/policy.rego').action(
    execute<Options>('policy', async (app, options) => {
      const { explain } = options
      const policy =
        explain === true
          ? await generatedPolicy(app, options)
          : await (await import('../steps/policy-file.js')).readPolicyFile(explain)
      const { explainPolicy } = await import('../policy/index.js')
      const explanation = explainPolicy(policy)
      app.terminal.result({
        human: describe(explanation, app.terminal.width),
        json: { command: 'policy', form: 'explain', ...explanation }
      })
    })
  )
}

function describe(policy: PolicyExplanation, width: number): string {
  if (!policy.enforced)
    return `host data ${policy.hostData}\nThis policy allows everything: the guest enforces nothing.`
  const general: readonly TableRow[] = [
    ['host data', [policy.hostData]],
    ['policy API', [policy.api ?? '']],
    [
      'fragments',
      policy.fragments.map(
        ({ feed, issuer, minimumSvn, includes }) =>
          `${feed} from version ${minimumSvn}, issuer ${issuer}: ${includes.length === 0 ? 'nothing' : includes.join(', ')}`
      )
    ],
    [
      'host may',
      Object.entries(policy.switches)
        .filter(([, isOn]) => isOn)
        .map(([name]) => name)
    ]
  ]
  return [general, ...policy.containers.map(rowsOf)].map((rows) => renderTable(rows.map(asLines), width)).join('\n\n')
}

/** Each text of a policy on one line of its own, whatever is in it. */
function asLines([name, lines]: TableRow): TableRow {
  return [name, lines.map(onOneLine)]
}

function rowsOf(container: ExplainedContainer): readonly TableRow[] {
  return [
    ['container', [container.name]],
    ['image digest', [container.imageDigest ?? `not pinned: ${container.image ?? 'the policy names no image'}`]],
    ['image', container.image === null ? [] : [container.image]],
    ['layers', container.layers],
    ['command', [container.command === null ? 'none: never starts' : commandWords(container.command)]],
    ['working dir', [container.workingDir]],
    ['environment', container.environment.map(environmentWords)],
    [
      'mounts',
      container.mounts.map(
        ({ destination, source, options, type }) =>
          `${destination} ← ${source} (${[...(type === 'bind' ? [] : [`type ${type}`]), ...options].join(', ')})`
      )
    ],
    ['user', [`${container.user}; groups: ${container.groups.join(', ')}; umask ${container.umask}`]],
    ['privileges', [privilegeWords(container)]],
    ['capabilities', capabilityWords(container)],
    ['execs', container.execs.map(execWords)],
    ['signals', container.signals.length === 0 ? [] : [container.signals.join(', ')]],
    ['stdio', [container.stdio ? 'the host reads the output' : 'no output']]
  ]
}

/** As JSON, with each word escaped once, however odd: a line that is escaped as a whole would show escapes of escapes. */
function commandWords(command: readonly string[]): string {
  return `[${command.map(quotedText).join(',')}]`
}

function execWords({ command, signals }: ExplainedContainer['execs'][number]): string {
  return `${commandWords(command)}${signals.length === 0 ? '' : `, signals ${signals.join(', ')}`}`
}

function environmentWords({ name, rule, value, required }: ExplainedContainer['environment'][number]): string {
  if (rule === 'pattern' && name === value) return `what matches ${onOneLine(value)}${required ? ' (required)' : ''}`
  const words = { exactly: `= ${quotedText(value)}`, any: 'any value', pattern: `matches ${onOneLine(value)}` }[rule]
  return `${onOneLine(name)} ${words}${required ? ' (required)' : ''}`
}

function privilegeWords({ privileged, noNewPrivileges, seccompProfile }: ExplainedContainer): string {
  return [
    privileged ? 'may be privileged' : 'not privileged',
    noNewPrivileges ? 'no new privileges' : 'new privileges allowed',
    seccompProfile === null ? 'no seccomp profile' : `seccomp profile ${seccompProfile}`
  ].join(', ')
}

function capabilityWords({ capabilities }: ExplainedContainer): readonly string[] {
  if (capabilities === 'default') return ['the default ones']
  if (capabilities === 'all') return ['all']
  return Object.entries(capabilities).map(([set, names]) => `${set}: ${names.length === 0 ? 'none' : names.join(', ')}`)
}
