import { describe, expect, it } from '@jest/globals'
import { printable, printableLine } from '../../../src/terminal/printable.js'

describe('printable', () => {
  it.each([
    ['colours and cursor moves', 'a\u001b[31mb\u001b[0m\u001b[2Jc', 'abc'],
    ['a change of the window title', '\u001b]0;x\u0007a', 'a'],
    ['a link with another target', '\u001b]8;;https://evil.example\u0007text\u001b]8;;\u0007', 'text'],
    ['control characters', 'a\u0000\u0008\u009bb\u007f', 'ab'],
    ['marks of direction', 'a\u202eb\u2066c', 'abc'],
    ['a carriage return', 'safe\roverwritten', 'safe\noverwritten'],
    ['a JWT', `x eyJhbGciOiJub25lIn0.eyJhIjoxfQ.c2ln y`, 'x [token] y'],
    ['a JWE', `eyJhbGciOiJSU0EifQ.a.b.c.d`, '[token]'],
    ['a bearer token', 'authorization: bearer 0123456789abcdef', 'authorization: bearer [hidden]'],
    ['an API key', 'Incorrect key: sk-proj-0123456789abcdef.', 'Incorrect key: [api key].'],
    ['a signature in a URL', 'https://x/y?a=1&sig=abc%3D&b=2', 'https://x/y?a=1&sig=[hidden]&b=2'],
    ['a private key', 'k -----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY----- l', 'k [private key] l'],
    ['half a private key', 'k -----BEGIN RSA PRIVATE KEY-----\nMII', 'k [private key]']
  ])('removes %s', (_, text, expected) => {
    expect(printable(text)).toBe(expected)
  })

  it.each([
    'Key vault "crt-kv" cannot be created',
    'sha256:' + 'ab'.repeat(32),
    'line\n\tindented ✔ – ü',
    'the key sk-1'
  ])('leaves %j alone', (text) => {
    expect(printable(text)).toBe(text)
  })

  it('takes the first line at a readable length', () => {
    expect(printableLine(' a \nb')).toBe('a')
    expect(printableLine('x'.repeat(600))).toHaveLength(500)
  })
})
