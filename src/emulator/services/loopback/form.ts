import type { EmulatorRequest } from '../../http.js'
import { missingParameter, RequestError } from './request-error.js'

export interface FormFile {
  readonly name: string
  readonly bytes: Uint8Array
}

/** The parts of a multipart body: a text or a file for each name, the last one of a name that is there twice. */
export interface Form {
  text(name: string): string | undefined
  requireFile(name: string): FormFile
}

export async function parseForm({ body, headers }: EmulatorRequest): Promise<Form> {
  const contentType = headers['content-type'] ?? ''
  if (!/^multipart\/form-data\s*;/i.test(contentType)) {
    throw new RequestError(400, 'The content type of the request must be multipart/form-data.', null, null)
  }
  const texts = new Map<string, string>()
  const files = new Map<string, FormFile>()
  for (const [name, value] of (await read(body, contentType)).entries()) {
    if (typeof value === 'string') texts.set(name, value)
    else files.set(name, { name: value.name, bytes: new Uint8Array(await value.arrayBuffer()) })
  }
  return {
    text: (name) => texts.get(name),
    requireFile(name) {
      const file = files.get(name)
      if (file === undefined) throw missingParameter(name)
      return file
    }
  }
}

/** The platform's own reader of forms, which belongs to `Response`. */
async function read(body: Uint8Array, contentType: string): Promise<FormData> {
  try {
    return await new Response(Buffer.from(body), { headers: { 'content-type': contentType } }).formData()
  } catch {
    throw new RequestError(400, 'We could not parse the multipart body of your request.', null, null)
  }
}
