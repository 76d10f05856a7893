// What tells one model from another: hashes of its configuration and of its weights.
import { MambakitError } from '../errors.js'
import type { MambaLM } from '../models/mamba-lm.js'
import type { Parameter } from '../nn/index.js'

export interface ModelIdentity {
  /** SHA-256 of the configuration, names of the layout aside. */
  readonly config: string
  /** SHA-256 of the weights' dtypes, shapes and bytes, in order of declaration. */
  readonly weights: string
  /** Dtype of the weights; several are joined by +. */
  readonly dtype: string
  /** For people to read. */
  readonly description: string
}

const hex = (bytes: Uint8Array) => Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join('')

async function sha256(data: Uint8Array): Promise<Uint8Array> {
  const { subtle } = globalThis.crypto ?? {}
  if (!subtle) throw new MambakitError('state: hashing needs crypto.subtle; serve the page by https or from localhost')
  return new Uint8Array(await subtle.digest('SHA-256', data as BufferSource))
}
const textHash = async (text: string) => hex(await sha256(new TextEncoder().encode(text)))

/** Reads every weight once, one after the other. */
export async function identityOf(model: MambaLM): Promise<ModelIdentity> {
  const { layout: _, ...config } = model.config
  const parameters = new Set<Parameter>([...model.namedParameters()].map(([, parameter]) => parameter))
  const digests: string[] = []
  const dtypes = new Set<string>()
  for (const { value } of parameters) {
    dtypes.add(value.dtype)
    digests.push(`${value.dtype} ${value.shape} ${hex(await sha256(await value.bytes()))}`)
  }
  const dtype = [...dtypes].sort().join('+')
  return {
    config: await textHash(JSON.stringify(Object.entries(config).sort())),
    weights: await textHash(digests.join('\n')),
    dtype,
    description: `Mamba, ${config.nLayer} layers of ${config.dModel}, vocabulary ${config.vocabSize}, ${dtype}`,
  }
}
