// TensorFlow.js on its WebAssembly backend as a peer of our WebAssembly build. It is installed on demand in a folder of
// its own.
import { readFile, stat } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import type { ConvolutionSize } from './convolutionSizes.js'
import { peerFolder } from './onnx.js'
import type { PeerFacts } from './report.js'

interface TensorOfPeer {
  data(): Promise<Float32Array>
  dispose(): void
}
/** What is used of tfjs-core and its backend. */
interface Core {
  readonly conv2d: Convolve
  readonly depthwiseConv2d: Convolve
  randomUniform(shape: readonly number[], low: number, high: number): TensorOfPeer
  setBackend(name: string): Promise<boolean>
}
type Convolve = (x: TensorOfPeer, filter: TensorOfPeer, strides: number, pad: 'same') => TensorOfPeer
interface WasmBackend {
  setWasmPaths(folder: string): void
  setThreadsCount(count: number): void
  getThreadsCount(): number
}

export interface TensorFlowPeer {
  readonly facts: PeerFacts
  /** Seconds of a convolution of channels-last images, the mean of several. */
  prepare(size: ConvolutionSize): (calls: number) => Promise<number>
}

/** The installed library; null where it is not installed. In Node it has one thread. */
export async function startTensorFlow(folder = peerFolder): Promise<TensorFlowPeer | null> {
  const place = join(folder, 'node_modules/@tensorflow/tfjs-backend-wasm')
  if (!(await stat(place).catch(() => null))) return null
  const { version } = JSON.parse(await readFile(join(place, 'package.json'), 'utf8'))
  const load = createRequire(join(place, 'package.json'))
  const core: Core = load('@tensorflow/tfjs-core')
  const backend: WasmBackend = load(place)
  backend.setWasmPaths(`${join(place, 'dist')}/`)
  await core.setBackend('wasm')
  return {
    facts: { name: 'TensorFlow.js', version, threads: 1, path: 'WebAssembly SIMD', expected: 'no figure recorded' },
    prepare({ batch, extent, inChannels, outChannels, kernel, stride, groups }) {
      const input = core.randomUniform([batch, extent, extent, inChannels], -1, 1)
      const depthwise = groups > 1
      const shape = [kernel, kernel, inChannels, depthwise ? 1 : outChannels]
      const filter = core.randomUniform(shape, -1, 1)
      const convolve = depthwise ? core.depthwiseConv2d : core.conv2d
      return async (calls) => {
        const start = performance.now()
        // The backend computes at once; `data` would copy as well.
        for (let i = 0; i < calls; i++) convolve(input, filter, stride, 'same').dispose()
        return (performance.now() - start) / 1000 / calls
      }
    },
  }
}
