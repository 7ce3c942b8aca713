import { describe, expect, it } from '@jest/globals'
import { formatReference, ImageError, parseReference } from '../../../src/image/index.js'

const digest = `sha256:${'ab'.repeat(32)}`

describe('parseReference', () => {
  it.each([
    ['node', 'docker.io/library/node:latest'],
    ['node:24', 'docker.io/library/node:24'],
    ['library/node', 'docker.io/library/node:latest'],
    ['index.docker.io/library/node:24', 'docker.io/library/node:24'],
    ['owner/app', 'docker.io/owner/app:latest'],
    ['localhost/tiny:1', 'localhost/tiny:1'],
    ['localhost:5000/tiny', 'localhost:5000/tiny:latest'],
    ['127.0.0.1:5000/a/b/c:x', '127.0.0.1:5000/a/b/c:x'],
    ['[::1]:5000/tiny:1', '[::1]:5000/tiny:1'],
    ['ghcr.io/Owner'.toLowerCase() + '/app_x/y-z__w.v', 'ghcr.io/owner/app_x/y-z__w.v:latest'],
    ['mcr.microsoft.com/aci/skr:2.12', 'mcr.microsoft.com/aci/skr:2.12'],
    [`ghcr.io/owner/app@${digest}`, `ghcr.io/owner/app@${digest}`],
    [`ghcr.io/owner/app:1@${digest}`, `ghcr.io/owner/app:1@${digest}`],
    ['localhost:5000', 'docker.io/library/localhost:5000']
  ])('reads %s as %s', (text, canonical) => {
    expect(formatReference(parseReference(text))).toBe(canonical)
    expect(formatReference(parseReference(canonical))).toBe(canonical)
  })

  it('adds no tag to a digest', () => {
    expect(parseReference(`ghcr.io/owner/app@${digest}`)).toEqual({
      registry: 'ghcr.io',
      repository: 'owner/app',
      tag: undefined,
      digest
    })
  })

  it.each([
    ['nothing', ''],
    ['an empty tag', 'app:'],
    ['an empty digest', 'app@'],
    ['a digest of another algorithm', `app@sha512:${'ab'.repeat(64)}`],
    ['a digest in capitals', `app@sha256:${'AB'.repeat(32)}`],
    ['a short digest', 'app@sha256:abcd'],
    ['two digests', `app@${digest}@${digest}`],
    ['capitals in the repository', 'ghcr.io/Owner/app'],
    ['an empty component', 'ghcr.io//app'],
    ['a trailing slash', 'ghcr.io/app/'],
    ['a parent directory', 'ghcr.io/../app'],
    ['a path that begins with a slash', '/app'],
    ['an option in its place', '--help'],
    ['white space', 'ghcr.io/app 1'],
    ['a line break at the end', 'ghcr.io/app:1\n'],
    ['a scheme', 'https://ghcr.io/app'],
    ['a registry with a bad port', 'ghcr.io:x/app'],
    ['a registry with user information', 'user:secret@ghcr.io/app'],
    ['a tag of 129 characters', `app:${'a'.repeat(129)}`],
    ['a repository of 256 characters', `ghcr.io/${'a'.repeat(256)}`],
    ['a text of a megabyte', 'a'.repeat(1_000_000)]
  ])('refuses %s', (_, text) => {
    let error: unknown
    try {
      parseReference(text)
    } catch (caught) {
      error = caught
    }
    expect(error).toBeInstanceOf(ImageError)
    expect(error).toMatchObject({ code: 'image.reference', exitCode: 3 })
  })
})
