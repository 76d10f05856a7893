// Training on the user's own files by one call. A task is a line of the table. Node only.
import { MambakitError } from '../errors.js'
import { type ImageClassifierTraining, setUpImageClassifier } from './train-image-classifier.node.js'
import { type LanguageModelTraining, setUpLanguageModel } from './train-language-model.node.js'
import { type TrainingRun, trainingRun } from './training-run.node.js'

/** The options of each task. */
export interface TrainingOptions {
  lm: LanguageModelTraining
  'image-classification': ImageClassifierTraining
}

const tasks: { readonly [Task in keyof TrainingOptions]: (options: TrainingOptions[Task]) => TrainingRun } = {
  lm: (options) => trainingRun(options, () => setUpLanguageModel(options)),
  'image-classification': (options) => trainingRun(options, (backend) => setUpImageClassifier(options, backend)),
}

/** Trains a model of a task on files; events come as they happen. */
export function train<Task extends keyof TrainingOptions>(task: Task, options: TrainingOptions[Task]): TrainingRun {
  if (!Object.hasOwn(tasks, task))
    throw new MambakitError(`train: expected task ${Object.keys(tasks).join(' or ')}, got '${task}'`)
  return tasks[task](options)
}
