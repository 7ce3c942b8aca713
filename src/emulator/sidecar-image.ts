import { readFile } from 'node:fs/promises'
import { UserError } from '../base/user-error.js'
import { buildNativeImage } from '../image/index.js'

/** Stands for mcr.microsoft.com/aci/skr:2.12, with the same command. */
export const sidecarReference = 'confrouter.local/aci/skr:2.12'

/** Puts the sidecar program into the layout as an image of one file. Nothing changes if it is there. */
export async function storeSidecarImage(bundle: string, layout: string): Promise<void> {
  const program = await readFile(bundle).catch((cause: unknown) => {
    throw new UserError('machine', 'emulator.sidecar-missing', `the sidecar program ${bundle} cannot be read`, {
      why: 'it is part of the built package',
      next: ['npm run build'],
      cause
    })
  })
  const interpreter = Buffer.from('#!/usr/bin/env node\n')
  await buildNativeImage({
    layout,
    reference: sidecarReference,
    files: [{ path: '/skr.sh', mode: 0o755, content: Buffer.concat([interpreter, program]) }],
    config: { entrypoint: ['/skr.sh'], workingDir: '/' }
  })
}
