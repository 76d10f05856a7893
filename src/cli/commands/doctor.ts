// `mambakit doctor`: what this machine offers, and why a device is not there.
import os from 'node:os'
import type { CliCommand } from '../command.js'
import { formatTable } from '../table.js'

export const doctor: CliCommand = {
  name: 'doctor',
  summary: 'show what this machine offers and why a device is missing',
  examples: [
    ['mambakit doctor', 'machine and versions'],
    ['mambakit doctor --json', 'the same for programs'],
  ],
  configure(command) {
    command.option('--json', 'print JSON').action(async ({ json }: { json?: boolean }) => {
      const machine = describeMachine()
      if (json) {
        process.stdout.write(`${JSON.stringify({ machine }, null, 2)}\n`)
        return
      }
      const rows = Object.entries(machine).map(([name, value]) => [name, `${value}`])
      process.stdout.write(`${formatTable([{ title: 'machine' }, { title: '' }], rows).join('\n')}\n`)
    })
  },
}

function describeMachine() {
  const gib = (bytes: number) => `${(bytes / 2 ** 30).toFixed(1)} GiB`
  return {
    node: process.version,
    system: `${os.type()} ${os.release()} ${os.arch()}`,
    processor: os.cpus()[0]?.model.trim() ?? 'unknown',
    threads: os.availableParallelism(),
    memory: gib(os.totalmem()),
    'free memory': gib(os.freemem()),
  }
}
