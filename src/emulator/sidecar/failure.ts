/**
 * An error as the sidecar's clients see it: a chain of texts, the outermost cause first, the answer
 * of the service that refused at its end. Clients have nothing but this text to go by.
 */
export class SidecarFailure extends Error {
  override readonly name = 'SidecarFailure'

  /** The same failure with what was being done in front of it. */
  during(activity: string): SidecarFailure {
    return new SidecarFailure(`${activity}: ${this.message}`)
  }
}

/** Runs a step; its failures get `activity` in front. Faults of the program itself pass unchanged. */
export async function during<T>(activity: string, step: () => Promise<T>): Promise<T> {
  try {
    return await step()
  } catch (error) {
    throw error instanceof SidecarFailure ? error.during(activity) : error
  }
}

const manual = [
  'ERROR: Please refer to the documentation for more information on how to use this sidecar.',
  'ACI: https://github.com/microsoft/confidential-sidecar-containers/blob/main/examples/skr/aci/README.md',
  'KATA: https://github.com/microsoft/confidential-sidecar-containers/blob/main/examples/skr/aks/README.md',
  'Troubleshooting: https://github.com/microsoft/confidential-sidecar-containers/blob/main/examples/skr/TROUBLESHOOTING.md'
].join('\n')

/** The text of an `error` member: what failed, the sidecar's signposts, the chain. */
export function errorText(what: string, chain: string): string {
  return `${what}\n${manual}: ${chain}`
}
