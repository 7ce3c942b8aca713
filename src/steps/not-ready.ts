/** What an operator does about a router that runs and is not ready, by the code of its `/readyz`. */
interface Remedy {
  readonly next: readonly string[]
  /** Waiting cannot mend it: a name or a form has to be changed first. */
  readonly final?: true
}

const later = 'confrouter smoke   (again in a few minutes: the router asks by itself)'

/** Most specific first: a code, or the part behind the dot that several codes share. */
const remedies: Readonly<Record<string, Remedy>> = {
  'release.forbidden': { next: ['confrouter provision', later] },
  'release.attestation-not-verified': { next: ['confrouter key', 'confrouter up'] },
  'release.key-not-found': { next: ['confrouter key', 'confrouter up'], final: true },
  'release.certificate': { next: ['confrouter policy', 'confrouter up'], final: true },
  'release.unusable-key': { next: ['set key.name to another name in confrouter.yaml', 'confrouter up'], final: true },
  'identity.refused': { next: ['confrouter provision', 'confrouter up'] },
  'attest.failed': { next: ['confrouter deploy'] },
  'secrets.rollback': { next: ['confrouter deploy'], final: true },
  'secrets.same-version': { next: ['confrouter deploy'], final: true },
  'secrets.unsigned': { next: ['confrouter deploy'], final: true },
  'secrets.foreign-signer': { next: ['confrouter policy', 'confrouter up'], final: true },
  'secrets.bad-signature': { next: ['confrouter deploy'], final: true },
  'secrets.other-deployment': { next: ['confrouter deploy'], final: true },
  'secrets.invalid': { next: ['confrouter deploy'], final: true },
  'secrets.not-opened': { next: ['confrouter deploy'], final: true },
  'sidecar.unreachable': { next: ['confrouter status', 'confrouter up'] },
  'bad-request': { next: ['confrouter policy', 'confrouter up'], final: true },
  throttled: { next: [later] },
  unavailable: { next: [later] },
  unreachable: { next: ['confrouter status', later] },
  'invalid-token': { next: [later] }
}

/** What to do about a code, best first. A code that is not known here is looked at. */
export function notReadyRemedy(code: string | undefined): readonly string[] {
  return find(code)?.next ?? ['confrouter status', 'confrouter smoke']
}

/** Whether waiting is no use. */
export function isFinal(code: string | undefined): boolean {
  return find(code)?.final === true
}

function find(code: string | undefined): Remedy | undefined {
  if (code === undefined) return undefined
  return remedies[code] ?? remedies[code.slice(code.indexOf('.') + 1)]
}
