import type { Claim } from '../verify/index.js'

/** What a person is shown as one thing; it may take several links. */
export type ChainPartId = 'ark' | 'ask' | 'vcek' | 'report' | 'uvm' | 'policy' | 'keys' | 'maa'

/** One link of the chain of trust: who says it, what is compared, and what hangs on it. */
export interface Link {
  readonly part: ChainPartId
  readonly text: string
  readonly claims: readonly Claim[]
  readonly links?: readonly Link[]
}

/** Every claim once, each below what vouches for it. */
export const chainOfTrust: readonly Link[] = [
  {
    part: 'ark',
    text: 'root key (ARK), by its pinned SHA-256',
    claims: ['ark.pinned'],
    links: [
      {
        part: 'ask',
        text: 'signs ASK, and that the key of this chip (VCEK)',
        claims: ['vcek.chain'],
        links: [
          {
            part: 'vcek',
            text: 'which is for this chip and its firmware',
            claims: ['vcek.hwid', 'vcek.tcb'],
            links: [
              {
                part: 'report',
                text: 'and signs the report of the guest',
                claims: ['report.format', 'report.signature'],
                links: [
                  { part: 'vcek', text: 'firmware: patch levels at least the minimum', claims: ['tcb.minimum'] },
                  {
                    part: 'report',
                    text: 'guest: no debugging, no migration, VMPL',
                    claims: ['guest.debug', 'guest.migration', 'guest.vmpl']
                  },
                  {
                    part: 'uvm',
                    text: 'MEASUREMENT = utility VM in a signed endorsement',
                    claims: ['uvm.measurement'],
                    links: [
                      {
                        part: 'uvm',
                        text: 'signed by its maker, as this feed, at least this version',
                        claims: ['uvm.signature', 'uvm.issuer', 'uvm.feed', 'uvm.svn']
                      }
                    ]
                  },
                  {
                    part: 'policy',
                    text: 'HOST_DATA = policy that is expected',
                    claims: ['hostData'],
                    links: [{ part: 'policy', text: 'and SHA-256 of the policy text', claims: ['ccePolicy.digest'] }]
                  },
                  {
                    part: 'keys',
                    text: 'REPORT_DATA = SHA-256 of the runtime data',
                    claims: ['reportData'],
                    links: [
                      { part: 'keys', text: 'which has the keys of the router', claims: ['runtimeData.keys'] },
                      { part: 'keys', text: 'and the nonce that was sent', claims: ['nonce'] }
                    ]
                  }
                ]
              }
            ]
          }
        ]
      }
    ]
  },
  {
    part: 'maa',
    text: 'attestation service',
    claims: ['maa.issuer'],
    links: [
      {
        part: 'maa',
        text: 'signs a token, not too old',
        claims: ['maa.signature', 'maa.time'],
        links: [
          {
            part: 'maa',
            text: 'about a confidential container that it finds compliant',
            claims: ['maa.type', 'maa.compliance']
          },
          {
            part: 'maa',
            text: 'and the same guest',
            claims: ['maa.hostData', 'maa.debug', 'maa.vmpl', 'maa.measurement']
          },
          { part: 'maa', text: 'with the same keys', claims: ['maa.reportData', 'maa.runtime'] }
        ]
      }
    ]
  }
]

/** The claims of one part, in the order of the chain. */
export function claimsOf(part: ChainPartId, links: readonly Link[] = chainOfTrust): Claim[] {
  return links.flatMap((link) => [...(link.part === part ? link.claims : []), ...claimsOf(part, link.links ?? [])])
}
