// `mambakit bench WHAT`: times parts of the library beside limits of the machine and public peers, in one run.
import { type Command, Option } from 'commander'
import pc from 'picocolors'
import type { ImageBenchOptions } from '../../../bench/images.js'
import type { LanguageModelBenchOptions } from '../../../bench/lm.js'
import type { LoaderBenchOptions } from '../../../bench/loader.js'
import type { BenchReport } from '../../../bench/report.js'
import { type CliCommand, type GlobalOptions, integerOption, UsageError } from '../command.js'

const examples: CliCommand['examples'] = [
  ['mambakit bench kernels', 'GEMM, selective scan, memory, and training steps by kernel'],
  ['mambakit bench kernels --json', 'the same for programs'],
  ['mambakit bench conv', 'convolutions beside ONNX Runtime, PyTorch and TensorFlow.js where they are installed'],
  ['mambakit bench load', 'how fast a checkpoint is loaded, and how much memory that takes'],
  ['mambakit bench lm', 'reading and writing with a language model of random weights'],
  ['mambakit bench lm --peer', 'beside llama.cpp on the same weights'],
  ['mambakit bench loader', 'whether images are there when a training step wants them'],
  ['mambakit bench images', 'image models beside the rates of matrix products and scans on this machine'],
  [
    'mambakit bench --device webgpu --profile',
    'kernels of a training and a decoding step on the GPU, with their rates',
  ],
]

export const bench: CliCommand = {
  name: 'bench',
  summary: 'time kernels, loading and language models beside the limits of this machine and public peers',
  examples,
  configure(command, globals) {
    command.option('--profile', 'the same as bench profile', false).action(({ profile }: { profile: boolean }) => {
      if (!profile)
        throw new UsageError('bench: say what to measure: kernels, conv, load, images, loader, lm or profile')
      return profileModel(profileDefaults, globals())
    })
    const { model, batch, length, precision } = profileDefaults
    command
      .command('profile')
      .description('kernels of a training and a decoding step, by the clock of --device webgpu')
      .option('--model <name|config.json>', 'what to profile; its weights are random', model)
      .option('--batch <n>', 'windows of the training step', integerOption('--batch', 1), batch)
      .option('--length <n>', 'tokens a window', integerOption('--length', 1), length)
      .addOption(new Option('--precision <kind>', 'of the training step').choices(['f32', 'mixed']).default(precision))
      .option('--json', 'print JSON', false)
      .action((options: ProfileFlags) => profileModel(options, globals()))
    addBench(command, 'kernels', 'kernels of the native device; ratios first (about 3 minutes)', async () => {
      const { benchKernels } = await import('../../../bench/kernels.js')
      return benchKernels
    })
    addBench(
      command,
      'conv',
      'convolutions on native and WebAssembly, and a training step (about 2 minutes)',
      async () => {
        const { benchConvolution } = await import('../../../bench/convolution.js')
        return benchConvolution
      },
    )
    addBench(command, 'load', 'loading a checkpoint of 517 MB beside a plain read of its file', async () => {
      const { benchLoad } = await import('../../../bench/load.js')
      return benchLoad
    })
    addBench<ImageBenchOptions>(
      command,
      'images',
      'reading and training of image models, of what this machine allows',
      async () => {
        const { benchImages } = await import('../../../bench/images.js')
        return benchImages
      },
    ).option('--models <names...>', 'image models', ['plainmamba-l1', 'groupmamba-tiny', 'mambaout-femto'])
    addBench<LoaderBenchOptions>(
      command,
      'loader',
      'how long a training step on images waits for them (about 2 minutes)',
      async () => {
        const { benchLoader } = await import('../../../bench/loader.js')
        return benchLoader
      },
    )
      .option('--model <name>', 'an image model that takes 32 x 32 and 224 x 224', 'mambaout-femto')
      .option('--workers <n>', 'threads that prepare images; default: one core in four', integerOption('--workers'))
    const description = 'reading a prompt and writing with a language model (about 5 minutes)'
    addBench<LanguageModelBenchOptions>(command, 'lm', description, async () => {
      const { benchLanguageModel } = await import('../../../bench/lm.js')
      return benchLanguageModel
    })
      .option('--model <name>', 'a preset; its weights are random', 'mamba-130m')
      .option('--context <n>', 'tokens of the long context', integerOption('--context', 1), 100_000)
      .option('--peer', 'measure llama.cpp (node-llama-cpp) in the same run', false)
  },
}

interface ProfileFlags {
  readonly model: string
  readonly batch: number
  readonly length: number
  readonly precision: 'f32' | 'mixed'
  readonly json: boolean
}
const profileDefaults: ProfileFlags = { model: 'mamba-small', batch: 8, length: 256, precision: 'f32', json: false }

async function profileModel({ json, ...options }: ProfileFlags, { device }: GlobalOptions): Promise<void> {
  if (device !== 'webgpu')
    throw new UsageError(
      `bench --profile: expected --device webgpu, got ${device ?? 'none'}; bench kernels times the CPU`,
    )
  const [{ openWebGpu }, { setDefaultBackend }, { benchProfile }, { formatReport }] = await Promise.all([
    import('../../backend/webgpu/index.js'),
    import('../../tensor/index.js'),
    import('../../../bench/profile.js'),
    import('../../../bench/report.js'),
  ])
  const gpu = await openWebGpu()
  try {
    setDefaultBackend(gpu)
    const onSection = json ? undefined : (title: string) => void process.stderr.write(pc.dim(`measuring: ${title}\n`))
    const report = await benchProfile(gpu, { ...options, onSection })
    process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatReport(report).join('\n')}\n`)
  } finally {
    await gpu.close()
  }
}

interface BenchOptions {
  readonly quick: boolean
  readonly onSection?: (title: string) => void
}
type RunBench<Options extends BenchOptions> = (options: Options) => Promise<BenchReport>

/** Adds a bench, whose code is loaded when it runs. */
function addBench<Options extends BenchOptions = BenchOptions>(
  command: Command,
  name: string,
  description: string,
  load: () => Promise<RunBench<Options>>,
): Command {
  return command
    .command(name)
    .description(description)
    .option('--quick', 'tiny sizes, to see that it works', false)
    .option('--json', 'print JSON', false)
    .action(async ({ json, ...options }: Options & { json: boolean }) => {
      const [run, { formatReport }] = await Promise.all([load(), import('../../../bench/report.js')])
      const onSection = (title: string) => process.stderr.write(pc.dim(`measuring: ${title}\n`))
      const report = await run({ ...options, onSection: json ? undefined : onSection } as unknown as Options)
      process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatReport(report).join('\n')}\n`)
    })
}
