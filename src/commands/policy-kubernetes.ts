import { Command, Option } from 'commander'
import type { Execute } from './app.js'
import { type SharedOptions, withDeployment } from './options.js'
import { withGenerated } from './policy-generated.js'

interface Options extends SharedOptions {
  readonly kubernetes: string
}

/** `policy --kubernetes <file>`: the manifest for a virtual node of AKS, with its policy. */
export function kubernetesCommand(execute: Execute): Command {
  const command = new Command('policy')
    .description('write the Kubernetes manifest of this router for AKS virtual nodes on ACI, with its policy')
    .addOption(new Option('--kubernetes <file>', 'the manifest; a release policy for its pod is written beside it'))
  return withDeployment(command, 'confrouter policy --kubernetes router.yaml').action(
    execute<Options>('policy', async (app, options) => {
      const { writeManifest } = await import('../steps/policy-kubernetes.js')
      const written = await withGenerated(app, options, (run, results, note) =>
        writeManifest(run, results, options.kubernetes, note)
      )
      for (const warning of written.warnings) app.terminal.warn(warning)
      const { hostData, files } = written
      app.terminal.result({
        human: `host data       ${hostData}\nmanifest        ${files.manifest}\nrelease policy  ${files.releasePolicy}`,
        json: {
          command: 'policy',
          form: 'kubernetes',
          hostData,
          manifestFile: files.manifest,
          skrPolicyFile: files.releasePolicy,
          warnings: written.warnings
        }
      })
    })
  )
}
