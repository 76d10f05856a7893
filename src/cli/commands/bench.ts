// `mambakit bench WHAT`: times parts of the library beside limits of the machine and public peers, in one run.
import pc from 'picocolors'
import type { CliCommand } from '../command.js'

const examples: CliCommand['examples'] = [
  ['mambakit bench kernels', 'GEMM, selective scan, memory, and training steps by kernel'],
  ['mambakit bench kernels --json', 'the same for programs'],
]

export const bench: CliCommand = {
  name: 'bench',
  summary: 'time kernels beside the limits of this machine and public peers',
  examples,
  configure(command) {
    command
      .command('kernels')
      .description('kernels of the native device; ratios first, then the numbers of this run (about 3 minutes)')
      .option('--quick', 'tiny sizes, to see that it works', false)
      .option('--json', 'print JSON', false)
      .action(async ({ quick, json }: { quick: boolean; json: boolean }) => {
        const [{ benchKernels }, { formatReport }] = await Promise.all([
          import('../../../bench/kernels.js'),
          import('../../../bench/report.js'),
        ])
        const onSection = (title: string) => process.stderr.write(pc.dim(`measuring: ${title}\n`))
        const report = await benchKernels({ quick, onSection: json ? undefined : onSection })
        process.stdout.write(`${json ? JSON.stringify(report, null, 2) : formatReport(report).join('\n')}\n`)
      })
  },
}
