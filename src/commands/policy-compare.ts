import { Command, Option } from 'commander'
import type { PolicyComparison } from '../policy/index.js'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { generatedPolicy } from './policy-generated.js'
import { printableLines } from './policy-output.js'

interface Options extends SharedOptions {
  readonly compare: string
  readonly with?: string
}

/** `policy --compare <old>`: what two whole policies allow, in words. */
export function compareCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('what a policy allows that an older one did not, and the other way round; writes nothing')
    .addOption(
      new Option('--compare <old>', 'policy.rego, its base64, a template with a ccePolicy, release.json or a manifest')
    )
    .addOption(new Option('--with <new>', 'another such file; the policy of this source if not given'))
  return withDeployment(command, 'confrouter policy --compare old.rego --with new.rego').action(
    execute<Options>('policy', async (app, options) => {
      const { comparePolicies, describeFinding } = await import('../policy/index.js')
      const { readPolicyFile } = await import('../steps/policy-file.js')
      const before = await readPolicyFile(options.compare)
      const after =
        options.with === undefined ? await generatedPolicy(app, options) : await readPolicyFile(options.with)
      const comparison = comparePolicies(before, after)
      const sentences = comparison.findings.map(describeFinding)
      app.terminal.result({ human: describe(comparison, sentences), json: documentOf(comparison, sentences) })
      if (!comparison.isEqual) app.exitWith(10)
    })
  )
}

function describe({ isEqual, oldHostData, newHostData }: PolicyComparison, sentences: readonly string[]): string {
  if (isEqual) return `the policies are the same: host data ${newHostData}`
  const heading = `host data ${oldHostData} → ${newHostData}`
  if (sentences.length === 0) return `${heading}\nboth allow the same; only the texts differ`
  return printableLines([heading, ...sentences])
}

function documentOf(
  { isEqual, oldHostData, newHostData, findings }: PolicyComparison,
  sentences: readonly string[]
): object {
  return {
    command: 'policy',
    form: 'compare',
    differs: !isEqual,
    oldHostData,
    newHostData,
    findings: findings.map((finding, index) => ({ ...finding, text: sentences[index] }))
  }
}
