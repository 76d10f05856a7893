// Where the hub and its cache are, by the variables that huggingface_hub knows, so that both share downloads. Node only.
import { readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join } from 'node:path'
import { MambakitError } from '../errors.js'
import { defaultEndpoint } from './hub.js'

export interface HubSettings {
  readonly endpoint: string
  /** The folder of models--owner--name folders. */
  readonly cache: string
  readonly token: string | null
  readonly offline: boolean
  /** A connection that brings nothing for this long counts as dropped, in ms. */
  readonly stall: number
  /** First wait before another try, in ms; it doubles. */
  readonly retryDelay: number
  /** Longest Retry-After that is waited for, in ms. */
  readonly longestWait: number
}

type Environment = Readonly<Record<string, string | undefined>>

/** HF_ENDPOINT, HF_HOME, HF_HUB_CACHE, HF_TOKEN, HF_TOKEN_PATH, HF_HUB_OFFLINE. Throws MambakitError. */
export function hubSettings(env: Environment = process.env): HubSettings {
  const path = (value: string) => value.replace(/^~(?=$|\/)/, homedir())
  const home = path(env.HF_HOME || join(env.XDG_CACHE_HOME || '~/.cache', 'huggingface'))
  const endpoint = (env.HF_ENDPOINT || defaultEndpoint).replace(/\/+$/, '')
  if (!/^https?:\/\/[^/]/.test(endpoint) || !URL.canParse(endpoint))
    throw new MambakitError(`HF_ENDPOINT: expected an address as ${defaultEndpoint}, got "${endpoint}"`)
  return {
    endpoint,
    cache: path(env.HF_HUB_CACHE || env.HUGGINGFACE_HUB_CACHE || join(home, 'hub')),
    token: findToken(env, path(env.HF_TOKEN_PATH || join(home, 'token'))),
    offline: /^(1|on|yes|true)$/i.test(env.HF_HUB_OFFLINE || env.TRANSFORMERS_OFFLINE || ''),
    stall: 60_000,
    retryDelay: 1000,
    longestWait: 120_000,
  }
}

function findToken(env: Environment, file: string): string | null {
  let token = (env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN || '').trim()
  if (token === '') {
    try {
      token = readFileSync(file, 'utf8').trim()
    } catch {
      return null
    }
  }
  // It goes into a header; its text must not appear in an error.
  if (!/^[\x21-\x7e]*$/.test(token))
    throw new MambakitError('HF_TOKEN: expected a token of letters and digits, as hf_...')
  return token || null
}
