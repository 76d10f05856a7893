// The command line's pages: one Markdown page a command, written from the same definitions as --help.
import type { Command } from 'commander'
import { commands } from './commands/index.js'
import { buildProgram } from './program.js'

/** Pages by file name; `index.md` lists the others. */
export function commandPages(): Map<string, string> {
  const program = buildProgram()
  const pages = new Map<string, string>()
  for (const command of program.commands) {
    const { examples } = commands.find(({ name }) => name === command.name())!
    const shown = examples.flatMap(([line, effect]) => [`# ${effect}`, line])
    const sections = [...commandSections(command, ['mambakit']), '## Examples', fenced(shown)]
    pages.set(`${command.name()}.md`, `${sections.join('\n\n')}\n`)
  }
  const list = program.commands.map(
    (command) => `- [\`${command.name()}\`](${command.name()}.md): ${command.description()}`,
  )
  const index = [
    '# mambakit',
    program.description(),
    list.join('\n'),
    '## Options of all commands',
    ...optionTable(program),
  ]
  return pages.set('index.md', `${index.join('\n\n')}\n`)
}

/** A command's page without its examples; subcommands are sections of it. */
function commandSections(command: Command, path: readonly string[]): string[] {
  const whole = [...path, command.name()]
  const heading = '#'.repeat(Math.min(path.length, 3))
  const subcommands = command.commands.flatMap((each) => commandSections(each, whole))
  return [
    `${heading} ${whole.join(' ')}`,
    command.description(),
    fenced([`${whole.join(' ')} ${command.usage()}`]),
    ...argumentTable(command),
    ...optionTable(command),
    ...subcommands,
  ]
}

const fenced = (lines: readonly string[]) => ['```sh', ...lines, '```'].join('\n')

function argumentTable({ registeredArguments }: Command): string[] {
  const rows = registeredArguments.map((argument) => [argument.name(), argument.description])
  return rows.length === 0 ? [] : [table(['argument', 'what it is'], rows)]
}

function optionTable(command: Command): string[] {
  const rows = command.options.map(({ flags, description, defaultValue, argChoices, envVar }) => {
    const notes = [
      ...(argChoices ? [`one of ${argChoices.join(', ')}`] : []),
      ...(defaultValue === undefined || defaultValue === false ? [] : [`default ${JSON.stringify(defaultValue)}`]),
      ...(envVar ? [`or the variable ${envVar}`] : []),
    ]
    return [`\`${flags}\``, [description, ...notes].join('; ')]
  })
  return rows.length === 0 ? [] : [table(['option', 'what it does'], rows)]
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n')
}
