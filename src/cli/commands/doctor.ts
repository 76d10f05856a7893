// `mambakit doctor`: what this machine offers, and why a device is not there.
import os from 'node:os'
import type { CliCommand } from '../command.js'
import { formatTable } from '../table.js'

export const doctor: CliCommand = {
  name: 'doctor',
  summary: 'show what this machine offers and why a device is missing',
  examples: [
    ['mambakit doctor', 'machine and devices'],
    ['mambakit doctor --json', 'the same for programs'],
  ],
  configure(command) {
    command.option('--json', 'print JSON').action(async ({ json }: { json?: boolean }) => {
      const machine = describeMachine()
      const { deviceReport } = await import('../../backend/open.js')
      const found = await deviceReport()
      if (json) {
        process.stdout.write(`${JSON.stringify({ machine, devices: found }, null, 2)}\n`)
        return
      }
      const facts = Object.entries(machine).map(([name, value]) => [name, `${value}`])
      const states = found.map(({ device, available, detail }) => [device, available ? 'ready' : 'missing', detail])
      const tables = [
        formatTable([{ title: 'machine' }, { title: '' }], facts),
        formatTable([{ title: 'device' }, { title: 'state' }, { title: 'what it is, or why it is missing' }], states),
      ]
      process.stdout.write(`${tables.map((lines) => lines.join('\n')).join('\n\n')}\n`)
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
