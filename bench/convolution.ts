// `mambakit bench conv`: convolutions on the native device beside ONNX Runtime and PyTorch, on WebAssembly beside
// TensorFlow.js, and a training step of a small convolutional network beside the limit of its arithmetic.
import os from 'node:os'
import { type ConvolutionNumbers, launch } from '../src/backend/kernels.js'
import type { Backend, Operand } from '../src/backend/types.js'
import { openWasm } from '../src/backend/wasm/index.js'
import { type ConvolutionSize, convolutionSizes, flopsOf, quickSizes } from './convolutionSizes.js'
import { benchConvolutionStep } from './convolutionStep.js'
import { Bench } from './devices.js'
import { type Contender, forAbout, medianOf, type Rounds, ratio, takeTurns } from './measure.js'
import { startOnnx } from './onnx.js'
import { PythonPeer } from './python.js'
import type { BenchReport, PeerFacts, Ratio, Section } from './report.js'
import { startTensorFlow } from './tensorflow.js'

export interface ConvolutionBenchOptions {
  /** Tiny sizes, to see that it works. */
  readonly quick: boolean
  /** Told which part begins. */
  readonly onSection?: (title: string) => void
}

const install =
  'npm install --prefix .peers --ignore-scripts onnxruntime-node @tensorflow/tfjs-core @tensorflow/tfjs-backend-wasm'

/** PyTorch, with images in either order of memory. */
const torchScript = `
threads = int(os.environ['OMP_NUM_THREADS'])
torch.set_num_threads(threads)
facts = {'version': torch.__version__, 'threads': threads}
data = {}
def answer(batch, extent, inChannels, outChannels, kernel, stride, padding, groups, last, calls, **_):
    key = (batch, extent, inChannels, outChannels, kernel, stride, padding, groups, last)
    if key not in data:
        data.clear()
        order = torch.channels_last if last else torch.contiguous_format
        x = torch.rand(batch, inChannels, extent, extent).contiguous(memory_format=order)
        w = torch.rand(outChannels, inChannels // groups, kernel, kernel).contiguous(memory_format=order)
        data[key] = x, w
    x, w = data[key]
    with torch.no_grad():
        return timed(lambda: torch.nn.functional.conv2d(x, w, None, stride, padding, 1, groups), calls)
`

export async function benchConvolution({ quick, onSection }: ConvolutionBenchOptions): Promise<BenchReport> {
  const load = os.loadavg()[0]
  const all = new Bench()
  const one = new Bench(1)
  try {
    const sections: Section[] = []
    onSection?.('native convolutions')
    sections.push(await benchNative(all, quick))
    onSection?.('WebAssembly convolutions')
    sections.push(await benchWasm(quick))
    onSection?.('training step')
    sections.push(await benchConvolutionStep({ one, all }, quick))
    const cores = os.availableParallelism()
    const machine = { processor: os.cpus()[0]?.model.trim() ?? 'unknown', cores, load, node: process.version }
    return { command: 'bench conv', quick, device: all.backend.description, machine, sections }
  } finally {
    await one.close()
    await all.close()
  }
}

const keyOf = (who: string, { name, batch }: ConvolutionSize) => `${who}, ${name}, batch ${batch}`
/** How long a turn takes. */
const turnMs = (quick: boolean) => (quick ? 0 : 40)

function numbersOf({ stride, padding, groups }: ConvolutionSize): ConvolutionNumbers {
  return {
    ...{ strideT: 1, strideH: stride, strideW: stride, dilationT: 1, dilationH: 1, dilationW: 1 },
    ...{ paddingT: 0, paddingH: padding, paddingW: padding, groups },
  }
}

function shapesOf({ batch, extent, inChannels, outChannels, kernel, stride, padding, groups }: ConvolutionSize) {
  const out = Math.floor((extent + 2 * padding - kernel) / stride) + 1
  return {
    input: [batch, 1, extent, extent, inChannels],
    weight: [outChannels, inChannels / groups, 1, kernel, kernel],
    out: [batch, 1, out, out, outChannels],
  }
}

async function benchNative(bench: Bench, quick: boolean): Promise<Section> {
  const { threads } = bench.backend
  const onnx = await startOnnx(threads)
  const started = await PythonPeer.start<{ version: string; threads: number }>('torch, os', torchScript, threads)
  const facts: PeerFacts[] = onnx ? [onnx.facts] : []
  if (started)
    facts.push({
      ...started.facts,
      name: 'PyTorch',
      path: 'CPU, the faster order of memory',
      expected: '3x3: 162 and 170 GFLOP/s (batch 1 and 16, 2 cores of Zen 4)',
    })
  const sections: Rounds[] = []
  const sizes = quick ? quickSizes : convolutionSizes
  try {
    // A size at a time, so that the memory of one does not push out that of another.
    for (const size of sizes) {
      const shapes = shapesOf(size)
      const [input, weight, out] = [bench.uniform(shapes.input), bench.uniform(shapes.weight), bench.empty(shapes.out)]
      const numbers = numbersOf(size)
      const ours = () => launch(bench.backend, 'convolution', { input, weight, out }, numbers)
      const contenders: Contender[] = []
      const add = async (who: string, run: (calls: number) => Promise<number>) =>
        contenders.push(await forAbout(turnMs(quick), keyOf(who, size), run))
      await add('ours', (calls) => bench.contender('ours', calls, ours).run())
      if (onnx) {
        const values = new Float32Array(shapes.weight.reduce((a, b) => a * b, 1)).map((_, i) => Math.cos(i))
        await add('onnxruntime', await onnx.prepare(size, values))
      }
      for (const last of started ? [0, 1] : [])
        await add(last ? 'PyTorch (channels last)' : 'PyTorch', (calls) => started!.peer.ask({ ...size, last, calls }))
      sections.push(await takeTurns(contenders, quick ? 2 : 9))
      bench.clear()
    }
  } finally {
    started?.peer.close()
    bench.clear()
  }
  const taken: Rounds = new Map(sections.flatMap((rounds) => [...rounds]))
  const remarks = quick ? ['sizes of --quick say nothing about speed'] : []
  if (!onnx) remarks.push(`onnxruntime-node is not installed; run \`${install}\` in the clone`)
  if (!started) remarks.push('no python3 can import torch: no comparison with PyTorch')
  return {
    title: `convolution, ${threads} ${threads === 1 ? 'thread' : 'threads'}`,
    ratios: ratiosOf(taken, sizes, 'ours', ['onnxruntime', 'PyTorch', 'PyTorch (channels last)']),
    measurements: ratesOf(taken, sizes),
    peers: facts,
    remarks,
  }
}

/** Our speed beside that of the fastest peer that took part. */
function ratiosOf(taken: Rounds, sizes: readonly ConvolutionSize[], own: string, others: readonly string[]): Ratio[] {
  return sizes.flatMap((size) => {
    const rivals = others.map((who) => keyOf(who, size)).filter((key) => taken.has(key))
    if (rivals.length === 0) return []
    const fastest = rivals.reduce((a, b) => (medianOf(taken, a) <= medianOf(taken, b) ? a : b))
    const goal = own === 'ours' && size.goal ? `at least ${size.goal}` : undefined
    return [{ name: `speed of ${fastest}`, value: ratio(taken, fastest, keyOf(own, size)), unit: 'times', goal }]
  })
}

function ratesOf(taken: Rounds, sizes: readonly ConvolutionSize[]) {
  return [...taken.keys()].map((name) => {
    const size = sizes.find((size) => name.endsWith(keyOf('', size).slice(1)))!
    return { name, value: flopsOf(size) / medianOf(taken, name) / 1e9, unit: 'GFLOP/s' }
  })
}

/** An engine runs WebAssembly at once and compiles it well meanwhile: how long each side is given for that. */
const warmUpMs = 500

async function runFor(ms: number, run: () => Promise<unknown>): Promise<void> {
  for (const end = performance.now() + ms; performance.now() < end; ) await run()
}

async function benchWasm(quick: boolean): Promise<Section> {
  const peer = await startTensorFlow()
  const backend = await openWasm()
  const sizes = quick ? quickSizes : convolutionSizes
  const sections: Rounds[] = []
  try {
    for (const size of sizes) {
      const buffers: Operand[] = []
      const shapes = shapesOf(size)
      const place = (shape: readonly number[]) => {
        const operand = placed(backend, shape)
        buffers.push(operand)
        launch(backend, 'fill', { out: operand }, { value: 0.5 })
        return operand
      }
      const [input, weight, out] = [place(shapes.input), place(shapes.weight), place(shapes.out)]
      const contenders: Contender[] = []
      const add = async (who: string, run: (calls: number) => Promise<number>) => {
        await runFor(quick ? 0 : warmUpMs, () => run(1))
        contenders.push(await forAbout(turnMs(quick), keyOf(who, size), run))
      }
      await add('ours', async (calls) => {
        await backend.download(out.buffer, 0, 4)
        const start = performance.now()
        for (let i = 0; i < calls; i++) launch(backend, 'convolution', { input, weight, out }, numbersOf(size))
        await backend.download(out.buffer, 0, 4)
        return (performance.now() - start) / 1000 / calls
      })
      if (peer) await add('TensorFlow.js', peer.prepare(size))
      sections.push(await takeTurns(contenders, quick ? 2 : 5))
      for (const { buffer } of buffers) backend.release(buffer)
    }
  } finally {
    await backend.close()
  }
  const taken: Rounds = new Map(sections.flatMap((rounds) => [...rounds]))
  return {
    title: `convolution, WebAssembly (${backend.description})`,
    ratios: ratiosOf(taken, sizes, 'ours', ['TensorFlow.js']).map((each) => ({ ...each, goal: 'at least 5' })),
    measurements: ratesOf(taken, sizes),
    peers: peer ? [peer.facts] : [],
    remarks: peer ? [] : [`TensorFlow.js is not installed; run \`${install}\` in the clone`],
  }
}

function placed(backend: Backend, shape: readonly number[]): Operand {
  const strides = shape.map((_, axis) => shape.slice(axis + 1).reduce((a, b) => a * b, 1))
  const buffer = backend.allocate(4 * shape.reduce((a, b) => a * b, 1))
  return { buffer, offset: 0, dtype: 'float32', shape, strides }
}
