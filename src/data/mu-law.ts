// 8-bit mu-law: samples as 256 levels that are denser near silence, the tokens of sound models (G.711's curve, mu 255).

const mu = 255

/** Samples in [-1, 1] -> levels 0 to 255; silence is 128. */
export function encodeMuLaw(samples: Float32Array): Uint8Array {
  const scale = 1 / Math.log1p(mu)
  return Uint8Array.from(samples, (x) => {
    const curved = Math.sign(x) * Math.log1p(mu * Math.abs(x)) * scale
    return Math.min(mu, Math.max(0, Math.floor(((curved + 1) / 2) * mu + 0.5)))
  })
}

/** Levels -> samples in [-1, 1]. */
export function decodeMuLaw(levels: ArrayLike<number>): Float32Array {
  return Float32Array.from(levels, (level) => {
    const curved = (level / mu) * 2 - 1
    return (Math.sign(curved) * Math.expm1(Math.abs(curved) * Math.log1p(mu))) / mu
  })
}
