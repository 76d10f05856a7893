// Exponential moving average of a model's weights, which often evaluates better than the last weights.
import { launch } from '../backend/kernels.js'
import type { Parameter } from '../nn/index.js'
import { empty, keep, outsideScopes, type Tensor } from '../tensor/index.js'

export class ExponentialAverage {
  readonly #slots: { readonly name: string; readonly parameter: Parameter; average: Tensor }[] = []

  /** `decay`: the share of the old average that each update keeps. */
  constructor(
    parameters: Iterable<readonly [string, Parameter]>,
    readonly decay: number,
  ) {
    const seen = new Set<Parameter>()
    for (const [name, parameter] of parameters) {
      // Counters of batches are no weights.
      if (seen.has(parameter) || parameter.dtype === 'int32') continue
      seen.add(parameter)
      const average = outsideScopes(() => keep(empty(parameter.value.backend, parameter.shape, parameter.value.dtype)))
      launch(average.backend, 'copy', { input: parameter.value, out: average }, {})
      this.#slots.push({ name, parameter, average })
    }
  }

  /** Takes the current weights in. */
  update(): void {
    for (const { parameter, average } of this.#slots)
      launch(
        average.backend,
        'axpby',
        { a: average, b: parameter.value, out: average },
        { alpha: this.decay, beta: 1 - this.decay },
      )
  }

  /** Exchanges weights and averages; call it again to change back. */
  swap(): void {
    for (const slot of this.#slots) {
      const held = slot.parameter.value.view()
      const next = slot.average
      slot.parameter.value = next
      slot.average = keep(held)
    }
  }

  /** Averages by name, for a checkpoint. */
  *state(): IterableIterator<[string, Tensor]> {
    for (const { name, average } of this.#slots) yield [name, average]
  }

  dispose(): void {
    for (const { average } of this.#slots) average.dispose()
  }
}
