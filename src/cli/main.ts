// Builds the command line from its commands and runs it: options that all share, help with examples, errors as one line,
// exit codes (0 ok, 1 failure, 2 wrong usage, 130 interrupted).
import { readFileSync } from 'node:fs'
import { Command, CommanderError, Option } from 'commander'
import pc from 'picocolors'
import { type CliCommand, deviceChoices, type GlobalOptions } from './command.js'
import { commands } from './commands/index.js'
import { exitCodeOf, explainError } from './errors.js'

/** Runs the command line `argv` (as in process.argv) and ends the process with its exit code. */
export async function main(argv: readonly string[]): Promise<void> {
  // A reader that has seen enough (`mambakit papers | head -3`) is no failure.
  for (const stream of [process.stdout, process.stderr]) {
    stream.on('error', (error: NodeJS.ErrnoException) => process.exit(error.code === 'EPIPE' ? 0 : 1))
  }
  const program = buildProgram(commands)
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

function buildProgram(list: readonly CliCommand[]): Command {
  const { version } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'))
  const program = new Command('mambakit')
    .description('Mamba and selective state-space models: train, run and reproduce, on CPU and GPU')
    .version(version)
    .addOption(
      new Option('--device <name>', 'where to compute; the fastest that is there by default').choices(deviceChoices),
    )
    .option('--verbose', 'print stack traces and details', false)
    .configureHelp({ showGlobalOptions: true })
    // Usage errors are one line like all others; commander's own come with its suggestions.
    .configureOutput({
      outputError: (text, write) => {
        const line = text
          .replace(/^error: /, '')
          .trim()
          .replace(/\s*\n\s*/g, ' ')
          .replace(/\.$/, '')
        write(`${pc.red('mambakit:')} ${line}; see mambakit --help\n`)
      },
    })
    .exitOverride()
    .addHelpText('after', examplesText(list.flatMap(({ examples }) => examples.slice(0, 1))))
  for (const { name, summary, examples, configure } of list) {
    const command = program.command(name).description(summary)
    configure(command, () => program.opts<GlobalOptions>())
    command.addHelpText('after', examplesText(examples))
  }
  return program
}

function examplesText(examples: CliCommand['examples']): string {
  const width = Math.max(...examples.map(([line]) => line.length))
  return `\nExamples:\n${examples.map(([line, effect]) => `  ${line.padEnd(width)}  ${effect}`).join('\n')}`
}
