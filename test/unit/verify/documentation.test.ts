import { readFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { describe, expect, it } from '@jest/globals'
import { claims } from '../../../src/verify/check.js'
import { strictTrustPolicy } from '../../../src/verify/strict-trust-policy.js'
import { parseTrustPolicy } from '../../../src/verify/trust-policy.js'

const page = readFileSync(resolve(import.meta.dirname, '../../../docs/verification.md'), 'utf8')
const section = (title: string): string => page.split(`\n## ${title}\n`)[1]?.split('\n## ')[0] ?? ''
const hostData = 'ab'.repeat(32)
const endpoint = 'https://sharedeus.eus.attest.azure.net'

describe('docs/verification.md', () => {
  it('explains every claim, in the order of a verdict', () => {
    const explained = [...section('The claims').matchAll(/^\| `([\w.]+)` \|/gm)].map(([, claim]) => claim)
    expect(explained).toEqual(claims)
  })

  it('explains every field of a trust policy, in its order', () => {
    const explained = [...section('trust.json').matchAll(/^\| `(\w+)` \|/gm)].map(([, field]) => field)
    expect(explained).toEqual(Object.keys(strictTrustPolicy({ hostData: [hostData], maaEndpoints: [endpoint] })))
  })

  it('shows the trust policy with its defaults', () => {
    const json = /```json\n(.*?)```/s.exec(section('trust.json'))?.[1]?.replace('<64 hex>', hostData) ?? ''
    expect(parseTrustPolicy(json)).toEqual(strictTrustPolicy({ hostData: [hostData], maaEndpoints: [endpoint] }))
  })

  it('links only to sections that are there', () => {
    const anchors = [...page.matchAll(/^##+ (.+)$/gm)].map(([, title = '']) => title.toLowerCase().replace(/ /g, '-'))
    const links = [...page.matchAll(/\]\(#([^)]+)\)/g)].map(([, anchor]) => anchor)
    expect(links.filter((link) => !anchors.includes(link ?? ''))).toEqual([])
  })
})
