import { readdir, readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeBase64 } from '../base/encoding.js'
import { SidecarError } from './sidecar-error.js'

/**
 * Reads the CCE policy text from the security context that the utility VM puts into every
 * container: in `directory` (UVM_SECURITY_CONTEXT_DIR), else in `/security-context-*`. It is
 * convenience data of the host: a verifier compares its SHA-256 with HOST_DATA.
 *
 * Throws a `SidecarError` with code `evidence.no-cce-policy`.
 */
export async function readCcePolicy(directory: string | undefined, root = '/'): Promise<Uint8Array> {
  for (const candidate of directory === undefined ? await securityContexts(root) : [directory]) {
    try {
      const text = await readFile(join(candidate, 'security-policy-base64'), 'latin1')
      const policy = decodeBase64(text.trim(), 'security-policy-base64')
      if (policy.length > 0) return policy
    } catch {
      // Another folder may have it; if none has, the error below says what was looked for.
    }
  }
  throw new SidecarError(
    'evidence.no-cce-policy',
    'no readable security-policy-base64 in UVM_SECURITY_CONTEXT_DIR or /security-context-*; this is not a confidential container group, or its policy is empty',
    { final: true }
  )
}

async function securityContexts(root: string): Promise<string[]> {
  const names = await readdir(root)
  return names
    .filter((name) => name.startsWith('security-context-'))
    .sort()
    .map((name) => join(root, name))
}
