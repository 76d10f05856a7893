// ONNX Runtime as a peer, through onnxruntime-node: graphs of one convolution, encoded by hand. It is installed on demand
// in a folder of its own.
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import type { ConvolutionSize } from './convolutionSizes.js'
import type { PeerFacts } from './report.js'

export const peerFolder = fileURLToPath(new URL('../../.peers', import.meta.url))

/** What is used of onnxruntime-node. */
interface Library {
  readonly InferenceSession: {
    create(model: Uint8Array, options: object): Promise<{ run(feeds: object): Promise<unknown> }>
  }
  readonly Tensor: new (type: 'float32', data: Float32Array, shape: readonly number[]) => unknown
}

export interface OnnxPeer {
  readonly facts: PeerFacts
  /** Seconds of a convolution of channels-first images, the mean of several. */
  prepare(size: ConvolutionSize, weight: Float32Array): Promise<(calls: number) => Promise<number>>
}

/** The installed library with this many threads; null where it is not installed. */
export async function startOnnx(threads: number, folder = peerFolder): Promise<OnnxPeer | null> {
  const place = join(folder, 'node_modules/onnxruntime-node')
  if (!(await stat(place).catch(() => null))) return null
  const { version } = JSON.parse(await readFile(join(place, 'package.json'), 'utf8'))
  const { InferenceSession, Tensor }: Library = createRequire(join(place, 'package.json'))(place)
  return {
    facts: {
      name: 'onnxruntime-node',
      version,
      threads,
      path: 'CPU, single-operator graph',
      expected: '3x3: 114 and 165 GFLOP/s (batch 1 and 16, 2 cores of Zen 4)',
    },
    async prepare(size, weight) {
      const session = await InferenceSession.create(convolutionModel(size, weight), {
        executionProviders: ['cpu'],
        intraOpNumThreads: threads,
        interOpNumThreads: 1,
        logSeverityLevel: 3,
      })
      const shape = [size.batch, size.inChannels, size.extent, size.extent]
      const values = new Float32Array(shape.reduce((a, b) => a * b, 1)).map((_, i) => Math.sin(i))
      const feeds = { x: new Tensor('float32', values, shape) }
      return async (calls) => {
        const start = performance.now()
        for (let i = 0; i < calls; i++) await session.run(feeds)
        return (performance.now() - start) / 1000 / calls
      }
    },
  }
}

/** A model of one Conv node over input x, weight w (an initializer) and output y. */
function convolutionModel(size: ConvolutionSize, weight: Float32Array): Uint8Array {
  const { batch, extent, inChannels, outChannels, kernel, stride, padding, groups } = size
  const out = Math.floor((extent + 2 * padding - kernel) / stride) + 1
  const integers = (name: string, values: readonly number[]) =>
    message([1, name], [20, 7], ...values.map((value) => [8, value] as const))
  const image = (name: string, shape: readonly number[]) => {
    const dimensions = message(...shape.map((extent) => [1, message([1, extent])] as const))
    return message([1, name], [2, message([1, message([1, 1], [2, dimensions])])])
  }
  const initializer = message(
    ...[outChannels, inChannels / groups, kernel, kernel].map((extent) => [1, extent] as const),
    [2, 1],
    [8, 'w'],
    [9, new Uint8Array(weight.buffer, weight.byteOffset, weight.byteLength)],
  )
  const node = message(
    [1, 'x'],
    [1, 'w'],
    [2, 'y'],
    [4, 'Conv'],
    [5, integers('kernel_shape', [kernel, kernel])],
    [5, integers('strides', [stride, stride])],
    [5, integers('pads', [padding, padding, padding, padding])],
    [5, message([1, 'group'], [20, 2], [3, groups])],
  )
  const graph = message(
    [1, node],
    [2, 'convolution'],
    [5, initializer],
    [11, image('x', [batch, inChannels, extent, extent])],
    [12, image('y', [batch, outChannels, out, out])],
  )
  return message([1, 8], [7, graph], [8, message([2, 13])])
}

/** A protobuf message of (field, value): integers as varints, the rest by length. */
function message(...fields: readonly (readonly [field: number, value: number | string | Uint8Array])[]): Uint8Array {
  const parts = fields.flatMap(([field, value]) => {
    if (typeof value === 'number') return [varint(field << 3), varint(value)]
    const bytes = typeof value === 'string' ? new TextEncoder().encode(value) : value
    return [varint((field << 3) | 2), varint(bytes.length), bytes]
  })
  return new Uint8Array(Buffer.concat(parts))
}

function varint(value: number): Uint8Array {
  const bytes: number[] = []
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Uint8Array.from([...bytes, rest])
    bytes.push((rest % 128) | 128)
  }
}
