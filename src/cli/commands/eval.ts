// `mambakit eval MODEL`: measures a trained model on data, as its task does.
import type { CliCommand } from '../command.js'
import { modelForms } from '../model.js'
import { addTaskOptions, runTaskAction } from '../task.js'
import { tasks } from '../tasks/index.js'

export const evaluate: CliCommand = {
  name: 'eval',
  summary: 'measure a trained model on text or images',
  examples: [
    ['mambakit eval runs/notes --data test.txt', 'bits per byte of a text'],
    ['mambakit eval runs/notes --data test/ --json', 'the same for programs'],
    ['mambakit eval runs/photos --data photos/', 'top-1, top-5, each class, what is taken for what'],
  ],
  configure(command, globals) {
    command
      .argument('<model>', modelForms)
      .requiredOption('--data <path...>', 'data of the kind that the model was trained on, to be measured on')
    addTaskOptions(command, tasks, 'evaluate')
      .option('--json', 'print JSON', false)
      .action((path: string) => runTaskAction(command, tasks, 'evaluate', path, globals()))
  },
}
