import { writeFile } from 'node:fs/promises'
import { Argument, Command, Option } from 'commander'
import { UserError } from '../base/user-error.js'
import { type BalancerKind, balancerTemplate, type Origin, type Routing } from '../plan/balancer.js'
import type { Execute } from './app.js'
import { helpEnd, withOutput } from './options.js'
import { isLoopback } from './router-url.js'

const kinds: readonly BalancerKind[] = ['front-door', 'traffic-manager']
const routings: readonly Routing[] = ['performance', 'weighted', 'priority']

interface Options {
  readonly json?: boolean
  readonly stateDir: string
  readonly out?: string
  readonly routing?: Routing
}

/** `balancer <kind>`: the template of what stands in front of the groups that are recorded. No cloud is asked. */
export function balancerCommand(execute: Execute): Command {
  const command = new Command('balancer')
    .description('print the ARM template of a Front Door or a Traffic Manager in front of the groups that serve')
    .addArgument(new Argument('<kind>', 'what stands in front').choices(kinds))
    .addOption(new Option('--out <file>', 'write the template to this file'))
    .addOption(
      new Option(
        '--routing <method>',
        'of Traffic Manager; default performance with several regions, else weighted'
      ).choices(routings)
    )
    .addOption(
      new Option('--state-dir <dir>', 'folder of the deployment').env('CONFROUTER_STATE_DIR').default('.confrouter')
    )
  return withOutput(command)
    .addHelpText('after', helpEnd('confrouter balancer front-door --out front-door.json'))
    .action((kind: BalancerKind, options: Options) =>
      execute<Options>('balancer', async (app, { stateDir, out, routing }) => {
        if (kind === 'front-door' && routing !== undefined) throw noRouting()
        const { recordedAddresses } = await import('../steps/index.js')
        const { name, origins } = await recordedAddresses(stateDir)
        const template = balancerTemplate(kind, { name, origins, routing: routing ?? usualRouting(origins) })
        const text = `${JSON.stringify(template, null, 2)}\n`
        if (out !== undefined) await writeTemplate(out, text)
        const warnings = warningsOf(origins)
        for (const warning of warnings) app.terminal.warn(warning)
        app.terminal.result({
          human: out === undefined ? text.trimEnd() : `wrote ${out}\nnext: ${nextCommand(out)}`,
          json: {
            schemaVersion: 1,
            ok: true,
            command: 'balancer',
            kind,
            origins: origins.map(({ host, port, scheme, region }) => ({
              host,
              port,
              scheme,
              ...(region === undefined ? {} : { region })
            })),
            template,
            ...(out === undefined ? {} : { file: out }),
            warnings
          }
        })
      })(options)
    )
}

function usualRouting(origins: readonly Origin[]): Routing {
  return new Set(origins.map(({ region }) => region)).size > 1 ? 'performance' : 'weighted'
}

function warningsOf(origins: readonly Origin[]): readonly string[] {
  const local = origins.filter(({ host }) => isLoopback(`http://${host}`))
  const bare = origins.filter(({ host }) => /^[0-9.]+$/.test(host) && !isLoopback(`http://${host}`))
  return [
    ...(local.length === 0 ? [] : [`nobody but this machine reaches ${hosts(local)}: the template is for a look`]),
    ...(bare.length === 0
      ? []
      : [
          `${hosts(bare)}: a group that is made anew may have another address; write the template again after each ` +
            'upgrade, or set containerGroup.dnsLabel, which gives the first group of each region a name that stays'
        ])
  ]
}

function hosts(origins: readonly Origin[]): string {
  return origins.map(({ host }) => host).join(', ')
}

function nextCommand(file: string): string {
  return `az deployment group create -g RESOURCE_GROUP --template-file ${file}`
}

function noRouting(): UserError {
  return new UserError('usage', 'usage.invalid', '--routing is for traffic-manager', {
    why: 'Front Door takes the origin that answers fastest',
    next: ['confrouter balancer front-door', 'confrouter balancer traffic-manager --routing priority']
  })
}

async function writeTemplate(file: string, text: string): Promise<void> {
  try {
    await writeFile(file, text)
  } catch (error) {
    throw new UserError('machine', 'balancer.not-saved', `${file} cannot be written`, {
      why: error instanceof Error ? error.message : undefined,
      next: ['name another file with --out'],
      cause: error
    })
  }
}
