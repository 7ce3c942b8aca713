import { UserError } from '../base/user-error.js'
import { lastWords } from './engine.js'
import { ProgramError, runProgram } from './run-program.js'

export interface AcipolicygenOptions {
  /** An ARM template. The tool writes the policy into this file. */
  readonly templateFile: string
  readonly parametersFile?: string | undefined
  /** Answers yes to "Create a wildcard policy for the environment variable …?". */
  readonly approveWildcards?: boolean | undefined
  /** An image archive, or a JSON map from image to archive; without it the tool asks Docker. */
  readonly tar?: string | undefined
  readonly signal?: AbortSignal | undefined
  readonly timeoutMs?: number | undefined
}

/** It may have to pull images through Docker first. */
const defaultTimeoutMs = 15 * 60_000
/** A printed policy is kilobytes for each container. */
const maxOutputBytes = 64 * 1024 * 1024

/**
 * Runs `az confcom acipolicygen` and returns the lines of its standard output: the SHA-256 of each
 * container group's policy. Questions that the options do not answer make it fail, as its input is closed.
 */
export async function acipolicygen(options: AcipolicygenOptions): Promise<readonly string[]> {
  const args = ['confcom', 'acipolicygen', '--template-file', options.templateFile]
  if (options.parametersFile !== undefined) args.push('--parameters', options.parametersFile)
  if (options.tar !== undefined) args.push('--tar', options.tar)
  if (options.approveWildcards === true) args.push('--approve-wildcards')
  try {
    const { stdout } = await runProgram('az', {
      arguments: args,
      // Nothing is installed behind the user's back: a missing extension is an error with a remedy.
      env: { AZURE_EXTENSION_USE_DYNAMIC_INSTALL: 'no', AZURE_CORE_NO_COLOR: 'true' },
      timeoutMs: options.timeoutMs ?? defaultTimeoutMs,
      signal: options.signal,
      maxOutputBytes
    })
    return stdout.split(/\r?\n/).filter((line) => line !== '')
  } catch (error) {
    throw error instanceof ProgramError ? translate(error) : error
  }
}

function translate(cause: ProgramError): UserError {
  if (cause.failure === 'missing') {
    return new UserError('machine', 'az.missing', 'az, the Azure CLI, is not installed', {
      why: 'policy.engine az runs the original tool',
      next: ['set policy.engine to native', 'https://learn.microsoft.com/cli/azure/install-azure-cli'],
      cause
    })
  }
  if (cause.failure === 'timed-out') {
    return new UserError('machine', 'az.timeout', 'az confcom acipolicygen took too long', {
      why: lastWords(cause),
      cause
    })
  }
  const output = cause.tail.join('\n')
  // argparse's words for an unknown command group, and the CLI's own for one that an extension would add.
  if (
    /'confcom' is misspelled or not recognized|requires the extension confcom|extension confcom.*not installed/i.test(
      output
    )
  ) {
    return new UserError('machine', 'az.confcom-missing', 'the Azure CLI has no confcom extension', {
      next: ['az extension add --name confcom', 'set policy.engine to native'],
      cause
    })
  }
  if (/docker process was not found|docker is not running|cannot connect to the docker daemon/i.test(output)) {
    return new UserError(
      'machine',
      'builder.not-running',
      'az confcom acipolicygen needs Docker, and it does not answer',
      {
        why: lastWords(cause),
        next: ['sudo systemctl start docker', 'set policy.engine to native, which needs no Docker'],
        cause
      }
    )
  }
  return new UserError('machine', 'az.failed', 'az confcom acipolicygen failed', {
    why: lastWords(cause),
    next: ['set policy.engine to native'],
    cause
  })
}
