// Classification of bags in two classes (multiple-instance learning): a label says whether a bag holds what is looked for,
// not which of its instances that is. Letters: n instances of a bag, F features of an instance.
import type { Backend } from '../backend/types.js'
import { permutation } from '../data/permutation.js'
import { MambakitError } from '../errors.js'
import type { Module } from '../nn/index.js'
import { crossEntropy, noGrad, scope, softmax, type Tensor, tensor } from '../tensor/index.js'
import type { TrainingTask } from '../train/trainer.js'

export interface Bag {
  /** (n, F), row-major. */
  readonly instances: Float32Array
  /** F. */
  readonly features: number
  /** 1 for a positive bag, else 0. */
  readonly label: number
}

/** Bags (1, n, F) -> logits (1, 2). */
export type BagClassifier = Module & { forward(bags: Tensor): Tensor }

/** One bag a step, all of them in a new order in every epoch. */
export class BagClassification implements TrainingTask<Bag> {
  readonly unit = 'bags'
  readonly unitsPerBatch = 1
  readonly #train: readonly Bag[]
  readonly #heldOut: readonly Bag[]
  readonly #seed: number
  constructor(
    readonly model: BagClassifier,
    bags: { readonly train: readonly Bag[]; readonly heldOut: readonly Bag[] },
    /** Of the order. */
    { seed = 0 }: { readonly seed?: number } = {},
  ) {
    this.#train = bags.train
    this.#heldOut = bags.heldOut
    this.#seed = seed
  }

  async batch(index: number): Promise<Bag> {
    const { length } = this.#train
    return this.#train[permutation(index % length, length, this.#seed, Math.floor(index / length))]
  }

  loss(bag: Bag): Tensor {
    const backend = backendOf(this.model)
    return crossEntropy(this.model.forward(bagTensor(bag, backend)), tensor(Int32Array.of(bag.label), { backend }))
  }

  /** 1 - AUC (which decides what is best), AUC, F1 and accuracy of the held-out bags. */
  async evaluate(): Promise<Record<string, number>> {
    const { auc, f1, accuracy } = await measureBags(this.model, this.#heldOut)
    return { missed: 1 - auc, auc, f1, accuracy }
  }

  observe(bag: Bag, visit: (layer: string, output: Tensor) => void): void {
    const instances = bagTensor(bag, backendOf(this.model))
    visit('instances', instances)
    visit('model', this.model.forward(instances))
  }
}

const backendOf = (model: BagClassifier): Backend => model.parameters()[0].value.backend

const bagTensor = ({ instances, features }: Bag, backend: Backend): Tensor =>
  tensor(instances, { shape: [1, instances.length / features, features], backend })

export interface BagReport {
  readonly auc: number
  /** Harmonic mean of precision and recall of positive bags, at a probability of 0.5. */
  readonly f1: number
  /** At a probability of 0.5. */
  readonly accuracy: number
  /** 1 for each bag that was told right, else 0. */
  readonly correct: readonly number[]
  readonly placements: Placements
}

/** Measures a model on bags of both labels. Throws MambakitError where one is missing. */
export async function measureBags(model: BagClassifier, bags: readonly Bag[]): Promise<BagReport> {
  const { training } = model
  if (training) model.eval()
  const scores: number[] = []
  for (const bag of bags) {
    const probabilities = noGrad(() => scope(() => softmax(model.forward(bagTensor(bag, backendOf(model))))))
    scores.push((await probabilities.data())[1])
    probabilities.dispose()
  }
  if (training) model.train()
  return reportBags(
    scores,
    bags.map(({ label }) => label),
  )
}

/** What scores (probabilities of being positive) say of bags with these labels. */
export function reportBags(scores: readonly number[], labels: readonly number[]): BagReport {
  const placements = placementsOf(scores, labels)
  const told = scores.map((score) => (score > 0.5 ? 1 : 0))
  const correct = told.map((label, i) => (label === labels[i] ? 1 : 0))
  const hits = told.filter((label, i) => label === 1 && labels[i] === 1).length
  const positives = (values: readonly number[]) => values.filter((value) => value === 1).length
  return {
    auc: mean(placements.ofPositives),
    f1: (2 * hits) / (positives(told) + positives(labels)),
    accuracy: mean(correct),
    correct,
    placements,
  }
}

export interface Placements {
  /** Of each positive, the share of negatives that score lower; equal ones count half. The mean is the AUC. */
  readonly ofPositives: readonly number[]
  /** Of each negative, the share of positives that score higher; equal ones count half. The mean is the AUC. */
  readonly ofNegatives: readonly number[]
}

function placementsOf(scores: readonly number[], labels: readonly number[]): Placements {
  const [negatives, positives] = [0, 1].map((label) => scores.filter((_, i) => labels[i] === label))
  if (negatives.length === 0 || positives.length === 0)
    throw new MambakitError(
      `expected bags of both labels to measure on, got ${positives.length} positive and ${negatives.length} negative ones`,
    )
  const above = (high: number, low: number) => (high > low ? 1 : high === low ? 0.5 : 0)
  return {
    ofPositives: positives.map((high) => mean(negatives.map((low) => above(high, low)))),
    ofNegatives: negatives.map((low) => mean(positives.map((high) => above(high, low)))),
  }
}

const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length

/**
 * Scores whose mean is the AUC and whose spread is the AUC's own, one a pair of a positive and a negative: what a paired
 * comparison of models on as many positives as negatives takes as its items. The structural components of DeLong, DeLong &
 * Clarke-Pearson 1988 (Biometrics 44), added up.
 */
export function aucItems({ auc, placements: { ofPositives, ofNegatives } }: BagReport): number[] {
  if (ofPositives.length !== ofNegatives.length)
    throw new MambakitError(
      `expected as many positive as negative bags, got ${ofPositives.length} and ${ofNegatives.length}`,
    )
  return ofPositives.map((share, i) => share + ofNegatives[i] - auc)
}
