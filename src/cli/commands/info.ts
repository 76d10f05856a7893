// `mambakit info NAME|CONFIG`: what a model is and what it costs, without loading or computing anything.
import type { CliCommand } from '../command.js'
import { addTaskOptions, runTaskAction } from '../task.js'
import { tasks } from '../tasks/index.js'

export const info: CliCommand = {
  name: 'info',
  summary: 'parameters, operations and memory of a model, without loading it',
  examples: [
    ['mambakit info mamba-2.8b', 'a published size'],
    ['mambakit info path/config.json --length 2048 --json', 'a configuration of your own, for programs'],
    ['mambakit info plainmamba-l1 --input-size 384', 'an image model at another size'],
  ],
  configure(command, globals) {
    command.argument('<model>', 'a preset, a config.json, a folder with one, or a hub id')
    addTaskOptions(command, tasks, 'info')
      .option('--json', 'print JSON', false)
      .action((name: string) => runTaskAction(command, tasks, 'info', name, globals()))
  },
}
