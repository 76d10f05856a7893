// WGSL functions that several kernels share. Arguments of exp and tanh are bounded where an implementation may overflow
// inside; NaN passes through.

/** exp and log of a NaN are arbitrary numbers in WGSL; these give the NaN back. */
export const nanSafe = `
fn isNan(x: f32) -> bool { return (bitcast<u32>(x) & 0x7fffffffu) > 0x7f800000u; }
fn expOf(x: f32) -> f32 { return select(exp(x), x, isNan(x)); }
fn logOf(x: f32) -> f32 { return select(log(x), x, isNan(x)); }
// Compilers turn a bare comparison and choice into max or min, which lose a NaN.
fn atLeast(x: f32, low: f32) -> f32 { return select(select(x, low, x < low), x, isNan(x)); }
fn atMost(x: f32, high: f32) -> f32 { return select(select(x, high, x > high), x, isNan(x)); }`

export const logistic = `${nanSafe}
fn sigmoid(x: f32) -> f32 { return 1.0 / (1.0 + expOf(-x)); }
fn silu(x: f32) -> f32 { return x * sigmoid(x); }
fn siluGrad(x: f32) -> f32 { let s = sigmoid(x); return s * (1.0 + x * (1.0 - s)); }
// The native log may err by 2^-21 near 1; there log(1+x) = 2 artanh(x / (2 + x)) keeps its digits.
fn log1pOf(x: f32) -> f32 {
  if (x < -0.3 || x > 0.42) { return logOf(1.0 + x); }
  let s = x / (2.0 + x);
  let z = s * s;
  return 2.0 * s + s * z * (0.66666666667 + z * (0.4 + z * (0.28571428571 + z * (0.22222222222 + z * 0.18181818182))));
}
fn softplus(x: f32) -> f32 { if (x > 20.0) { return x; } return log1pOf(expOf(x)); }
`

export const special = `
${logistic}
// Below 1 the Maclaurin series of erf; above, a Chebyshev fit of erfc whose relative error is below 1.2e-7.
fn erfcLarge(x: f32) -> f32 {
  let t = 1.0 / (1.0 + 0.5 * x);
  let s = -1.26551223 + t * (1.00002368 + t * (0.37409196 + t * (0.09678418 + t * (-0.18628806 + t * (0.27886807
    + t * (-1.13520398 + t * (1.48851587 + t * (-0.82215223 + t * 0.17087277))))))));
  return t * expOf(-x * x + s);
}
fn erfOf(x: f32) -> f32 {
  let a = abs(x);
  if (a < 1.0) {
    let q = x * x;
    return x * (1.1283791671 + q * (-0.3761263890 + q * (0.1128379167 + q * (-0.02686617065 + q * (0.005223977625
      + q * (-0.0008548327023 + q * (0.0001205533299 + q * (-0.00001492565036 + q * 0.000001646211437))))))));
  }
  if (a > 5.0) { return sign(x); }
  return sign(x) * (1.0 - erfcLarge(a));
}
fn normalCdf(x: f32) -> f32 {
  let z = x * 0.7071067812;
  if (z < -1.0) { return 0.5 * erfcLarge(-z); }
  return 0.5 * (1.0 + erfOf(z));
}
fn gelu(x: f32) -> f32 { return x * normalCdf(x); }
fn geluGrad(x: f32) -> f32 { return normalCdf(x) + x * 0.3989422804 * expOf(-0.5 * x * x); }
fn tanhOf(x: f32) -> f32 {
  if (abs(x) < 0.3) {
    let q = x * x;
    return x * (1.0 + q * (-0.33333333333 + q * (0.13333333333 + q * (-0.05396825397 + q * (0.02186948854 + q * -0.008863235530)))));
  }
  let e = expOf(-2.0 * abs(x));
  return select(sign(x) * (1.0 - e) / (1.0 + e), x, isNan(x));
}
// 1 - tanh(x)^2 without the cancellation.
fn sechSquared(x: f32) -> f32 { let e = expOf(-2.0 * abs(x)); return 4.0 * e / ((1.0 + e) * (1.0 + e)); }
fn geluTanh(x: f32) -> f32 { return x * sigmoid(1.595769122 * (x + 0.044715 * x * x * x)); }
fn geluTanhGrad(x: f32) -> f32 {
  let s = sigmoid(1.595769122 * (x + 0.044715 * x * x * x));
  return s + x * s * (1.0 - s) * 1.595769122 * (1.0 + 0.134145 * x * x);
}
fn expm1Of(x: f32) -> f32 {
  if (abs(x) < 0.35) {
    return x * (1.0 + x * (0.5 + x * (0.16666666667 + x * (0.04166666667 + x * (0.008333333333 + x * (0.001388888889 + x * 0.0001984126984))))));
  }
  return expOf(x) - 1.0;
}
// Quarter turns are taken off in three steps, the first two exact; native sin and cos may err by 2^-11.
fn cosTurned(x: f32, turned: u32) -> f32 {
  let quarters = round(x * 0.6366197724);
  let t = ((x - quarters * 1.5703125) - quarters * 0.00048351287841796875) - quarters * 3.13916479e-7;
  let z = t * t;
  let q = (u32(i32(quarters)) + turned) & 3u;
  let c = 1.0 + z * (-0.5 + z * (0.04166666667 + z * (-0.001388888889 + z * 0.0000248015873)));
  let s = t * (1.0 + z * (-0.16666666667 + z * (0.008333333333 + z * (-0.0001984126984 + z * 2.755731922e-6))));
  return select(c, s, (q & 1u) == 1u) * select(1.0, -1.0, q == 1u || q == 2u);
}
fn cosOf(x: f32) -> f32 { return cosTurned(x, 0u); }
fn sinOf(x: f32) -> f32 { return cosTurned(x, 3u); }
fn powOf(x: f32, e: f32) -> f32 {
  if (e == 0.0 || x == 1.0) { return 1.0; }
  if (isNan(x) || isNan(e)) { return x + e; }
  let magnitude = exp2(e * log2(abs(x)));
  if (x > 0.0) { return pow(x, e); }
  let whole = floor(e);
  if (x == 0.0) { return select(0.0, 1.0 / abs(x), e < 0.0); }
  if (whole != e) { return sqrt(x); }
  return select(magnitude, -magnitude, (whole - 2.0 * floor(0.5 * whole)) == 1.0);
}
`

/** Expressions of the activations that GEMM and gates use, by name. */
export const activationText: Readonly<Record<string, (x: string) => string>> = {
  none: (x) => x,
  silu: (x) => `silu(${x})`,
  relu: (x) => `atLeast(${x}, 0.0)`,
  gelu: (x) => `gelu(${x})`,
  geluTanh: (x) => `geluTanh(${x})`,
  sigmoid: (x) => `sigmoid(${x})`,
  tanh: (x) => `tanhOf(${x})`,
  softplus: (x) => `softplus(${x})`,
}

export const activationGradText: Readonly<Record<string, (x: string) => string>> = {
  none: () => '1.0',
  silu: (x) => `siluGrad(${x})`,
  relu: (x) => `select(0.0, 1.0, ${x} > 0.0)`,
  gelu: (x) => `geluGrad(${x})`,
  geluTanh: (x) => `geluTanhGrad(${x})`,
  sigmoid: (x) => `(sigmoid(${x}) * sigmoid(-${x}))`,
  tanh: (x) => `sechSquared(${x})`,
  softplus: (x) => `sigmoid(${x})`,
}
