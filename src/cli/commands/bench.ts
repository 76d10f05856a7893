// `mambakit bench WHAT`: times parts of the library beside limits of the machine and public peers, in one run.
import type { Command } from 'commander'
import pc from 'picocolors'
import type { BenchReport } from '../../../bench/report.js'
import type { CliCommand } from '../command.js'

const examples: CliCommand['examples'] = [
  ['mambakit bench kernels', 'GEMM, selective scan, memory, and training steps by kernel'],
  ['mambakit bench kernels --json', 'the same for programs'],
  ['mambakit bench load', 'how fast a checkpoint is loaded, and how much memory that takes'],
]

export const bench: CliCommand = {
  name: 'bench',
  summary: 'time kernels and loading beside the limits of this machine and public peers',
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
  },
}

type RunBench = (options: { quick: boolean; onSection?: (title: string) => void }) => Promise<BenchReport>

/** Adds a bench, whose code is loaded when it runs. */
function addBench(command: Command, name: string, description: string, load: () => Promise<RunBench>): void {
  command
    .command(name)
    .description(description)
    .option('--quick', 'tiny sizes, to see that it works', false)
    .option('--json', 'print JSON', false)
    .action(async ({ quick, json }: { quick: boolean; json: boolean }) => {
      const [run, { formatReport }] = await Promise.all([load(), import('../../../bench/report.js')])
      const onSection = (title: string) => process.stderr.write(pc.dim(`measuring: ${title}\n`))
      const report = await run({ quick, onSection: json ? undefined : onSection })
      process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatReport(report).join('\n')}\n`)
    })
}
