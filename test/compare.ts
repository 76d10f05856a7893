// Compares a file of output tensors with a recorded one, as the recorded cases ask: |a - b| <= 1e-4 + 1e-3 |b| for
// floats, equality for integers.

import type { StoredDtype } from '../src/hub/checkpoint.js'
import type { SafetensorsReader } from '../src/hub/safetensors.js'
import { openSafetensors } from '../src/hub/safetensors.node.js'

async function numbersOf(reader: SafetensorsReader, name: string): Promise<{ values: number[]; float: boolean }> {
  const { dtype } = reader.tensors.get(name)!
  const { buffer, byteOffset, byteLength } = await reader.read(name)
  const views: Partial<Record<StoredDtype, () => Iterable<number | bigint>>> = {
    F32: () => new Float32Array(buffer, byteOffset, byteLength / 4),
    F64: () => new Float64Array(buffer, byteOffset, byteLength / 8),
    I32: () => new Int32Array(buffer, byteOffset, byteLength / 4),
    I64: () => new BigInt64Array(buffer, byteOffset, byteLength / 8),
  }
  return { values: Array.from(views[dtype]!(), Number), float: dtype.startsWith('F') }
}

/** Every difference between the tensors of two files, as short texts. */
export async function differences(gotPath: string, wantPath: string): Promise<string[]> {
  const got = await openSafetensors(gotPath)
  const want = await openSafetensors(wantPath)
  try {
    const bad: string[] = []
    for (const [name, { shape }] of want.tensors) {
      const have = got.tensors.get(name)
      if (!have || String(have.shape) !== String(shape)) {
        bad.push(`${name}: ${have ? `shape [${have.shape}], expected [${shape}]` : 'absent'}`)
        continue
      }
      const [a, b] = [await numbersOf(got, name), await numbersOf(want, name)]
      const wrong = b.values.filter((value, i) => {
        const error = Math.abs(a.values[i] - value)
        return !(b.float ? error <= 1e-4 + 1e-3 * Math.abs(value) : error === 0)
      })
      if (wrong.length > 0) bad.push(`${name}: ${wrong.length} of ${b.values.length} differ`)
    }
    return bad
  } finally {
    await Promise.all([got.close(), want.close()])
  }
}
