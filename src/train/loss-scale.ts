// Dynamic loss scaling: small gradients survive float16 because the loss is multiplied first. The factor doubles after a
// while without overflow and halves at each; a step that overflowed is left out. mirrors: torch.amp.GradScaler
const growthInterval = 2000
const largest = 2 ** 24

export interface LossScaleState {
  readonly value: number
  /** Steps since the last overflow or growth. */
  readonly goodSteps: number
}

export class LossScale {
  value = 2 ** 16
  #goodSteps = 0

  /** Takes in how a step went. Returns false where the factor cannot become smaller: then the numbers are bad, not their range. */
  update(finite: boolean): boolean {
    if (finite) {
      if (++this.#goodSteps < growthInterval) return true
      this.value = Math.min(largest, this.value * 2)
      this.#goodSteps = 0
      return true
    }
    if (this.value <= 1) return false
    this.value /= 2
    this.#goodSteps = 0
    return true
  }

  get state(): LossScaleState {
    return { value: this.value, goodSteps: this.#goodSteps }
  }
  set state({ value, goodSteps }: LossScaleState) {
    this.value = value
    this.#goodSteps = goodSteps
  }
}
