import type { Command } from 'commander'
import type { Execute } from './app.js'
import { checkCommand } from './policy-check.js'
import { compareCommand } from './policy-compare.js'
import { explainCommand } from './policy-explain.js'
import { kubernetesCommand } from './policy-kubernetes.js'
import { rootHashCommand } from './policy-root-hash.js'
import { simulateCommand } from './policy-simulate.js'
import { acipolicygenCommand, isAcipolicygen } from './policy.js'

const forms: readonly (readonly [flag: string, command: (execute: Execute) => Command])[] = [
  ['--root-hash', rootHashCommand],
  ['--check', checkCommand],
  ['--compare', compareCommand],
  ['--explain', explainCommand],
  ['--simulate', simulateCommand],
  ['--kubernetes', kubernetesCommand]
]

/**
 * The form of `policy` that a command line is for, or undefined for the one that writes the files of `confrouter.yaml`.
 * Asked before the line is parsed, because each form is a set of flags of its own: `-y` is `--yes` for
 * `confrouter.yaml` and `--approve-wildcards` for acipolicygen.
 */
export function policyForm([verb, ...rest]: readonly string[], execute: Execute): Command | undefined {
  if (verb !== 'policy') return undefined
  const found = forms.find(([flag]) => rest.some((argument) => argument === flag || argument.startsWith(`${flag}=`)))
  // `-p` and `--tar` are flags of --simulate too, and of no other form is there one that names a subject.
  if (isAcipolicygen(rest)) return acipolicygenCommand(execute)
  return found?.[1](execute)
}

/** What the help of the form for `confrouter.yaml` says of the others. */
export const otherForms = `With -a, --image, -i or --virtual-node-yaml it takes the flags of az confcom acipolicygen and does what that does:
confrouter policy -a template.json --help
Further forms, each with a --help of its own: --check, --compare <old>, --explain [file], --simulate <template>,
--kubernetes <file>, --root-hash <layer...>`
