import { Command, Option } from 'commander'
import type { CcePolicy, SimulatedContainer, SimulatedGroup } from '../policy/index.js'
import { onOneLine } from '../policy/printable-text.js'
import type { App, Execute, Session } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { policyOf, withGenerated, withSession } from './policy-generated.js'
import { printableLines } from './policy-output.js'

interface Options extends SharedOptions {
  readonly simulate: string
  readonly with?: string
  readonly parameters?: string
  readonly tar?: string
}

/** `policy --simulate <template>`: whether each container would start, as ACI would decide it. */
export function simulateCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('whether each container of a template would start under a policy; writes nothing')
    .addOption(new Option('--simulate <template>', 'ARM template, or manifest for a virtual node (.yaml)'))
    .addOption(
      new Option(
        '--with <policy>',
        'policy.rego, its base64, a template, release.json or a manifest; if not given, the policy that the template carries, and where it carries none that of this source'
      )
    )
    .addOption(new Option('-p, --parameters <file>', 'parameter file of the template'))
    .addOption(
      new Option('--tar <file>', 'where the images are: a tar, an OCI layout, or a JSON map from image to either')
    )
  return withDeployment(command, 'confrouter policy --simulate template.json --with policy.rego').action(
    execute<Options>('policy', async (app, options) => {
      const groups = await simulate(app, options)
      const containers = groups.flatMap((group) => group.containers)
      for (const { name, undecided } of containers) {
        if (undecided !== undefined) app.terminal.warn(`container ${onOneLine(name)}: not decided: ${undecided}`)
      }
      app.terminal.result({ human: printableLines(groups.flatMap(describe)), json: documentOf(groups) })
      // What is not decided is no pass either: a pipeline would go on with it.
      if (containers.some(({ starts }) => !starts)) app.exitWith(10)
    })
  )
}

async function simulate(app: App, options: Options): Promise<readonly SimulatedGroup[]> {
  const { openSimulation } = await import('../steps/policy-simulate.js')
  const simulation = await openSimulation(options.simulate, options.parameters)
  const run = (policy: CcePolicy | undefined, open: App['openRegistryImage']) =>
    simulation.run(policy, {
      tar: options.tar,
      openRegistryImage: open,
      note: (text) => app.terminal.info(text),
      warn: (text) => app.terminal.warn(text),
      warnMissingParents: true,
      signal: app.signal
    })
  if (options.with === undefined && !simulation.carriesPolicies) {
    return withGenerated(app, options, async (given, results, note) => {
      return run(await policyOf(given, results, note), (reference) => given.imageStore.open(reference))
    })
  }
  const policy =
    options.with === undefined
      ? undefined
      : await (await import('../steps/policy-file.js')).readPolicyFile(options.with)
  // Images of the loopback cloud are in no registry.
  if (options.local !== true && options.cloud !== 'local')
    return run(policy, (reference) => app.openRegistryImage(reference))
  return withSession(app, options, ({ run: given }: Session) =>
    run(policy, (reference) => given.imageStore.open(reference))
  )
}

/** A container that does not start and has no denial is one that is not decided; why is in the warning. */
function documentOf(groups: readonly SimulatedGroup[]): object {
  return {
    command: 'policy',
    form: 'simulate',
    denied: groups.some(({ containers }) => containers.some(({ denial }) => denial !== undefined)),
    groups
  }
}

function describe({ name, hostData, containers }: SimulatedGroup): readonly string[] {
  return [`${onOneLine(name)} under host data ${hostData}`, ...containers.flatMap(containerLines)]
}

function containerLines(container: SimulatedContainer): readonly string[] {
  const { name, starts, droppedVariables, standIns, maybeDropped, denial, undecided } = container
  return [
    `  ${undecided === undefined ? (starts ? 'starts' : 'denied') : 'not decided'}  ${onOneLine(name)}`,
    ...(undecided === undefined ? [] : [`          ${undecided}`]),
    ...(droppedVariables.length === 0
      ? []
      : [`          dropped, as the policy does not list them: ${namesOf(droppedVariables)}`]),
    ...(maybeDropped.length === 0
      ? []
      : [`          dropped or not by a value that only the deployment knows: ${namesOf(maybeDropped)}`]),
    ...(standIns.length === 0 ? [] : [`          tried with a stand-in for the value: ${namesOf(standIns)}`]),
    ...(denial === undefined
      ? []
      : [
          `          ${denial.rule}: ${denial.errors.map(onOneLine).join('; ')}`,
          `          ACI: ${denial.message.replace(/policyDecision< [^>]* >policyDecision/, 'policyDecision< … >policyDecision')}`,
          `          fix: ${onOneLine(denial.fix)}`
        ])
  ]
}

function namesOf(names: readonly string[]): string {
  return names.map(onOneLine).join(', ')
}
