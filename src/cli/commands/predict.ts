// `mambakit predict MODEL FILE...`: what a trained model says of files.
import type { CliCommand } from '../command.js'
import { modelForms } from '../model.js'
import { addTaskOptions, runTaskAction } from '../task.js'
import { tasks } from '../tasks/index.js'

export const predict: CliCommand = {
  name: 'predict',
  summary: 'what a trained model says of files: labels of images',
  examples: [
    ['mambakit predict runs/photos cat.jpg', 'the best label and its probability'],
    ['mambakit predict runs/photos inbox/ --top 3 --json', 'the three best for every image of a folder'],
  ],
  configure(command, globals) {
    command.argument('<model>', modelForms).argument('<file...>', 'files, or folders of files')
    addTaskOptions(command, tasks, 'predict')
      .option('--json', 'print one JSON line a file', false)
      .action((path: string, files: readonly string[]) => {
        command.setOptionValueWithSource('files', files, 'cli')
        return runTaskAction(command, tasks, 'predict', path, globals())
      })
  },
}
