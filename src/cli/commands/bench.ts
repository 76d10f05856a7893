// `mambakit bench WHAT`: times parts of the library beside limits of the machine and public peers, in one run.
import type { Command } from 'commander'
import pc from 'picocolors'
import type { LanguageModelBenchOptions } from '../../../bench/lm.js'
import type { BenchReport } from '../../../bench/report.js'
import { type CliCommand, integerOption } from '../command.js'

const examples: CliCommand['examples'] = [
  ['mambakit bench kernels', 'GEMM, selective scan, memory, and training steps by kernel'],
  ['mambakit bench kernels --json', 'the same for programs'],
  ['mambakit bench load', 'how fast a checkpoint is loaded, and how much memory that takes'],
  ['mambakit bench lm', 'reading and writing with a language model of random weights'],
  ['mambakit bench lm --peer', 'beside llama.cpp on the same weights'],
]

export const bench: CliCommand = {
  name: 'bench',
  summary: 'time kernels, loading and language models beside the limits of this machine and public peers',
  examples,
  configure(command) {
    addBench(command, 'kernels', 'kernels of the native device; ratios first (about 3 minutes)', async () => {
      const { benchKernels } = await import('../../../bench/kernels.js')
      return benchKernels
    })
    addBench(command, 'load', 'loading a checkpoint of 517 MB beside a plain read of its file', async () => {
      const { benchLoad } = await import('../../../bench/load.js')
      return benchLoad
    })
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
