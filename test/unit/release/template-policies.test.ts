import { beforeAll, describe, expect, it } from '@jest/globals'
import { type Image, ImageError } from '../../../src/image/index.js'
import { type CompleteRelease, policiesOfTemplate } from '../../../src/release/index.js'
import { alteredRelease, type Anything, type Deployment, errorOf, releasedDeployment, sidecar } from './support.js'

let made: Deployment
let release: CompleteRelease
beforeAll(async () => {
  made = await releasedDeployment()
  release = await made.release()
})

const policies = (template: unknown, openImage = made.openImage) =>
  policiesOfTemplate(JSON.stringify(template), { openImage })

describe('policiesOfTemplate', () => {
  it('gives the host data of the release that was made of the template', async () => {
    const { images, hostData } = await policies(release.template)
    expect(images).toEqual(release.layers.map(({ image }) => image))
    expect(hostData).toContain(release.hostData)
  })

  it.each<[string, () => Promise<Image>, string, number]>([
    [
      'an image that is gone',
      () => Promise.reject(new ImageError('image.not-found', 'no such image')),
      'reproduce.image-missing',
      5
    ],
    [
      'an image of another kind',
      () => Promise.reject(new ImageError('image.unsupported', 'windows')),
      'reproduce.image-unreadable',
      4
    ],
    [
      'a registry that does not answer',
      () => Promise.reject(new ImageError('registry.unreachable', 'no answer')),
      'registry.unreachable',
      5
    ]
  ])('says for %s that nothing could be checked, and does not blame the template', async (_, open, code, exitCode) => {
    expect(await errorOf(policies(release.template, open))).toMatchObject({ code, exitCode })
  })

  it('refuses an image that is named by a tag before any is opened', async () => {
    const { template } = alteredRelease(release, (r: Anything) => (sidecar(r).image = 'mcr.microsoft.com/aci/skr:2.12'))
    const opened: string[] = []
    const open = (reference: string) => {
      opened.push(reference)
      return made.openImage(reference)
    }
    expect(await errorOf(policies(template, open))).toMatchObject({ code: 'release-file.template', exitCode: 3 })
    expect(opened).toEqual([])
  })
})
