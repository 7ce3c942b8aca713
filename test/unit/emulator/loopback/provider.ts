import OpenAI from 'openai'
import { serve } from '../../../../src/emulator/server.js'
import { loopbackHandler } from '../../../../src/emulator/services/loopback/handler.js'

export interface TestProvider {
  /** The real client. */
  readonly client: OpenAI
  readonly url: string
  close(): Promise<void>
}

/** The loopback provider on a socket. */
export async function openProvider(): Promise<TestProvider> {
  const server = await serve({ handler: loopbackHandler(), port: 0 })
  const url = `${server.origin}/v1`
  return { client: new OpenAI({ baseURL: url, apiKey: 'any', maxRetries: 0 }), url, close: () => server.close() }
}

/** Status and code of the error with which a call fails. */
export async function refusalOf(
  call: Promise<unknown>
): Promise<readonly [number | undefined, string | null | undefined, string | null | undefined]> {
  try {
    await call
  } catch (error) {
    if (error instanceof OpenAI.APIError) return [error.status, error.code, error.param]
    throw error
  }
  throw new Error('expected an error of the API')
}
