// Which kernel sources were last verified on a real GPU: a hash over src/backend/webgpu, since CI has no GPU.
import { createHash } from 'node:crypto'
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'

export interface Verified {
  /** The adapter that ran the suite. */
  readonly device: string
  readonly passed: number
  /** Of every source of the backend but tests, names included. */
  readonly sha256: string
}

/** `root` is the repository's folder. */
export function sourcesHash(root: string): string {
  const folder = join(root, 'src/backend/webgpu')
  const hash = createHash('sha256')
  const names = readdirSync(folder).filter((name) => name.endsWith('.ts') && !name.endsWith('.test.ts'))
  for (const name of names.sort()) hash.update(`${name}\n`).update(readFileSync(join(folder, name)))
  return hash.digest('hex')
}

export const readVerified = (root: string): Verified =>
  JSON.parse(readFileSync(join(root, 'bench/gpu/verified.json'), 'utf8')) as Verified
