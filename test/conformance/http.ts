import { request as plainRequest } from 'node:http'
import { request as tlsRequest } from 'node:https'

export interface Answer {
  readonly status: number
  /** Each header as often as it was sent. */
  readonly headers: readonly (readonly [string, string])[]
  readonly text: string
}

/** One request without anything that a client would add or mend. */
export function call(
  url: string,
  options: { readonly method?: string; readonly body?: string; readonly ca?: string | undefined } = {}
): Promise<Answer> {
  const send = url.startsWith('https:') ? tlsRequest : plainRequest
  const { method = 'GET', body, ca } = options
  return new Promise((resolve, reject) => {
    const outgoing = send(
      url,
      {
        method,
        agent: false,
        ...(ca === undefined ? {} : { ca }),
        ...(body === undefined ? {} : { headers: { 'content-type': 'application/json' } })
      },
      (response) => {
        let text = ''
        response.setEncoding('utf8').on('data', (part: string) => (text += part))
        response.once('error', reject)
        response.once('end', () => {
          const raw = response.rawHeaders
          const headers = Array.from(
            { length: raw.length / 2 },
            (_, index) => [raw[2 * index]!.toLowerCase(), raw[2 * index + 1]!] as const
          )
          resolve({ status: response.statusCode ?? 0, headers, text })
        })
      }
    )
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

export function headersNamed({ headers }: Answer, name: string): readonly string[] {
  return headers.filter(([each]) => each === name).map(([, value]) => value)
}
