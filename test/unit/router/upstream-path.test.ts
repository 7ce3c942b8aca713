import { describe, expect, it } from '@jest/globals'
import { checkUpstreamPath } from '../../../src/router/upstream-path.js'

describe('checkUpstreamPath', () => {
  it.each([
    '/',
    '/files',
    '/fal-ai/flux/dev/requests/1-2/status',
    '/a/',
    '/models/x:predict',
    '/a%20b',
    '/.hidden',
    '/a;b/c',
    '/a..;b',
    '/a..b'
  ])('leaves %s as it is', (path) => {
    expect(checkUpstreamPath(path)).toBe(path)
  })

  it.each([
    '',
    'files',
    '/..',
    '/..;/admin',
    '/..;x=1/admin',
    '/a/.;/b',
    '/a/..;',
    '/..%3b/admin',
    '/a%3Bb',
    '/../x',
    '/a/../b',
    '/a/.',
    '/./a',
    '/%2e%2e/x',
    '/%2E./x',
    '/a%2fb',
    '/a%5Cb',
    '/a\\b',
    '/%252e%252e/x',
    '/a//b',
    '//evil.example',
    '/a%00',
    '/a%0d%0ab',
    '/a%',
    '/a%zz',
    '/a b',
    '/a#b',
    '/a?b',
    '/ä'
  ])('refuses %s', (path) => {
    expect(() => checkUpstreamPath(path)).toThrow(expect.objectContaining({ code: 'invalid_path' }))
  })
})
