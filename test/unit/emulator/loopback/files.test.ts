import { afterEach, beforeEach, describe, expect, it } from '@jest/globals'
import { toFile } from 'openai'
import { Files } from '../../../../src/emulator/services/loopback/files.js'
import { request } from '../hardware/requests.js'
import { openProvider, refusalOf, type TestProvider } from './provider.js'

let provider: TestProvider

beforeEach(async () => {
  provider = await openProvider()
})
afterEach(() => provider.close())

const upload = async (name: string, content: Uint8Array | string, purpose: 'batch' | 'user_data' = 'batch') =>
  provider.client.files.create({ file: await toFile(Buffer.from(content), name), purpose })

async function listed(query: object = {}): Promise<string[]> {
  const names: string[] = []
  for await (const { filename } of provider.client.files.list(query)) names.push(filename)
  return names
}

describe('files of the loopback provider', () => {
  it('are kept byte for byte until they are deleted', async () => {
    const { files } = provider.client
    const content = Uint8Array.from({ length: 100_000 }, (_, index) => index % 251)
    const file = await upload('a.bin', content)
    expect(file).toMatchObject({
      object: 'file',
      bytes: 100_000,
      filename: 'a.bin',
      purpose: 'batch',
      status: 'processed'
    })
    expect(await files.retrieve(file.id)).toEqual(file)
    expect(Buffer.from(await (await files.content(file.id)).arrayBuffer())).toEqual(Buffer.from(content))
    expect(await files.delete(file.id)).toEqual({ id: file.id, object: 'file', deleted: true })
    for (const gone of [files.retrieve(file.id), files.content(file.id), files.delete(file.id)]) {
      expect(await refusalOf(gone)).toEqual([404, null, 'id'])
    }
  })

  it('are listed page by page, newest first or oldest first, of one purpose or all', async () => {
    for (const name of ['a', 'b', 'c']) await upload(name, name, name === 'b' ? 'user_data' : 'batch')
    expect(await listed({ limit: 1 })).toEqual(['c', 'b', 'a'])
    expect(await listed({ limit: 2, order: 'asc' })).toEqual(['a', 'b', 'c'])
    expect(await listed({ purpose: 'batch' })).toEqual(['c', 'a'])
    expect(await listed({ purpose: 'evals' })).toEqual([])
  })

  it.each([
    [{ order: 'up' }, [400, 'invalid_value', 'order']],
    [{ limit: 0 }, [400, 'invalid_value', 'limit']],
    [{ after: 'file-none' }, [404, null, 'id']]
  ])('are not listed for %j', async (query, expected) => {
    expect(await refusalOf(provider.client.files.list(query as never))).toEqual(expected)
  })

  it('are refused without a purpose', async () => {
    const refused = provider.client.files.create({ file: await toFile(Buffer.from('a'), 'a') } as never)
    expect(await refusalOf(refused)).toEqual([400, 'missing_required_parameter', 'purpose'])
  })

  it('are refused when there is no room, until one is deleted', async () => {
    const files = new Files(10)
    const send = async (size: number) => {
      const form = new FormData()
      form.set('purpose', 'batch')
      form.set('file', new Blob([new Uint8Array(size)]), 'a')
      const encoded = new Response(form)
      const headers = { 'content-type': encoded.headers.get('content-type') ?? '' }
      const body = new Uint8Array(await encoded.arrayBuffer())
      return files.answer(request('/v1/files', { method: 'POST', headers, body }))
    }
    const first = (await send(6)) as { body: { id: string } }
    await expect(send(5)).rejects.toThrow('This provider keeps 10 bytes')
    await files.answer(request(`/v1/files/${first.body.id}`, { method: 'DELETE' }))
    expect(await send(10)).toMatchObject({ status: 200 })
  })
})
