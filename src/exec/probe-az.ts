import { lastWords } from './engine.js'
import { ProgramError, runProgram } from './run-program.js'

export type AzState =
  | { readonly outcome: 'ready'; readonly version: string; readonly confcom: string | undefined }
  | { readonly outcome: 'missing' }
  | { readonly outcome: 'failed'; readonly says: string }

/** It starts a Python of its own. */
const timeoutMs = 20_000

/** Which Azure CLI is installed, and which `confcom` extension, if any. Asks no service. */
export async function probeAz(options: { readonly signal?: AbortSignal | undefined } = {}): Promise<AzState> {
  try {
    const { stdout } = await runProgram('az', {
      arguments: ['version', '--output', 'json'],
      env: { AZURE_CORE_COLLECT_TELEMETRY: 'false', AZURE_CORE_NO_COLOR: 'true' },
      timeoutMs,
      signal: options.signal
    })
    return readVersions(stdout)
  } catch (error) {
    if (!(error instanceof ProgramError)) throw error
    return error.failure === 'missing' ? { outcome: 'missing' } : { outcome: 'failed', says: lastWords(error) }
  }
}

function readVersions(stdout: string): AzState {
  try {
    const versions = JSON.parse(stdout) as { 'azure-cli'?: unknown; extensions?: { confcom?: unknown } } | null
    const version = versions?.['azure-cli']
    const confcom = versions?.extensions?.confcom
    if (typeof version !== 'string') return { outcome: 'failed', says: 'az version names no version' }
    return { outcome: 'ready', version, confcom: typeof confcom === 'string' ? confcom : undefined }
  } catch {
    return { outcome: 'failed', says: 'az version gave no JSON' }
  }
}
