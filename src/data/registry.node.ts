// Opens registered data sets below a root, which is a folder or an http(s) address. Every file's length and sha256 are
// compared before its bytes are used. Node only.
import { createHash } from 'node:crypto'
import { existsSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { gunzipSync } from 'node:zlib'
import { MambakitError } from '../errors.js'
import { DataError } from './bytes.js'
import { type DataFile, dataSets } from './registry.js'

/** ../shared/data beside the clone; this file lies in dist/src/data. */
export const defaultDataRoot = fileURLToPath(new URL('../../../../shared/data', import.meta.url))

/** More than any registered file unpacks to; a file that claims more is not one of ours. */
const mostBytes = 1 << 28

/** A registered set below `root`. Throws MambakitError where the name is not registered. */
export function openDataSet(name: string, root: string = defaultDataRoot) {
  const set = dataSets[name]
  if (!set)
    throw new MambakitError(`data set '${name}': expected one of ${Object.keys(dataSets).join(', ')}; see the registry`)
  return {
    /** The bytes of a file, unpacked where its name ends in .gz. Throws DataError where it is missing or another file. */
    async read(file: string): Promise<Uint8Array> {
      const expected = set.files[file]
      if (!expected)
        throw new MambakitError(
          `data set '${name}': expected one of ${Object.keys(set.files).join(', ')}, got '${file}'`,
        )
      const where = isAddress(root) ? `${root.replace(/\/+$/, '')}/${name}/${file}` : join(root, name, file)
      const bytes = isAddress(root) ? await fetchBytes(where) : await readBytes(where, name)
      compare(where, bytes, expected)
      return file.endsWith('.gz') ? gunzipSync(bytes, { maxOutputLength: mostBytes }) : bytes
    },
  }
}

const isAddress = (root: string): boolean => /^https?:\/\//.test(root)

async function readBytes(path: string, set: string): Promise<Uint8Array> {
  if (!existsSync(path))
    throw new DataError(
      path,
      `no such file; say by --data-root where the data set '${set}' is (${dataSets[set].source})`,
    )
  return readFile(path)
}

async function fetchBytes(address: string): Promise<Uint8Array> {
  let response: Response
  try {
    response = await fetch(address)
  } catch (error) {
    const { cause } = error as Error
    throw new DataError(
      address,
      `cannot be fetched (${cause instanceof Error ? cause.message : (error as Error).message})`,
    )
  }
  if (!response.ok) throw new DataError(address, `expected the file, the server answered ${response.status}`)
  return new Uint8Array(await response.arrayBuffer())
}

function compare(where: string, bytes: Uint8Array, { bytes: size, sha256 }: DataFile): void {
  if (bytes.length !== size) throw new DataError(where, `expected ${size} bytes, got ${bytes.length}; fetch it again`)
  const found = createHash('sha256').update(bytes).digest('hex')
  if (found !== sha256)
    throw new DataError(where, `expected sha256 ${sha256}, got ${found}; it is another file than the registered one`)
}
