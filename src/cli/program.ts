// Builds the command line from its commands: options that all share, help with examples, usage errors as one line.
import { readFileSync } from 'node:fs'
import { Command, Option } from 'commander'
import pc from 'picocolors'
import { type CliCommand, deviceChoices, type GlobalOptions } from './command.js'
import { commands } from './commands/index.js'

/** The whole command line, ready to parse. */
export function buildProgram(): Command {
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
    .addHelpText('after', examplesText(commands.flatMap(({ examples }) => examples.slice(0, 1))))
  for (const { name, summary, examples, configure } of commands) {
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
