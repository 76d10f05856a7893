// Runs the command line: errors as one line, exit codes (0 ok, 1 failure, 2 wrong usage, 130 interrupted).
import { CommanderError } from 'commander'
import pc from 'picocolors'
import type { GlobalOptions } from './command.js'
import { exitCodeOf, explainError } from './errors.js'
import { buildProgram } from './program.js'

/** Runs the command line `argv` (as in process.argv) and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough (`mambakit papers | head -3`) is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  }
  const program = buildProgram()
  let exitCode = 0
  try {
    await program.parseAsync(argv)
  } catch (error) {
    exitCode = exitCodeOf(error)
    if (!(error instanceof CommanderError)) {
      const { verbose } = program.opts<GlobalOptions>()
      process.stderr.write(`${pc.red('mambakit:')} ${explainError(error, verbose)}\n`)
    }
  }
  // Exits although a device or a worker that a failed command left open would keep the process alive.
  await Promise.all([process.stdout, process.stderr].map((stream) => new Promise((done) => stream.write('', done))))
  // A command that was interrupted has set its own exit code.
  process.exit(exitCode === 0 ? process.exitCode : exitCode)
}
