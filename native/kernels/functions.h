// Functions of one value and their derivatives, by the codes of `unaryFunctions` and `activations` in
// src/backend/kernels.ts. NaN in gives NaN out.
#pragma once
#include "../vec.h"

namespace MK_ISA {

struct Parameters {
  vf alpha, beta;
};

static inline vf sqrt(vf x) {
  float lane[W];
  store(lane, x);
  for (int i = 0; i < W; i++) lane[i] = __builtin_sqrtf(lane[i]);
  return load(lane);
}
static inline vf zero() { return vf{}; }
static inline vf one() { return splat(1.0f); }
static inline vf truth(vi mask) { return choose(mask, one(), zero()); }
/// `inside` where low < x < high, else 0; NaN stays.
static inline vf within(vf x, float low, float high, vf inside) {
  return choose(x != x, x, choose((x > splat(low)) & (x < splat(high)), inside, zero()));
}
static inline vf signOf(vf x) { return choose(x > zero(), one(), choose(x < zero(), -one(), x)); }
/// 1 - tanh(x)^2, without cancellation.
static inline vf sech2(vf x) {
  const vf e = exp(-2.0f * vabs(x));
  return 4.0f * e / ((1.0f + e) * (1.0f + e));
}
static inline vf softplusSlope(vf x) { return choose(x > splat(20.0f), one(), sigmoid(x)); }
/// Of the normal distribution at x: its function, in the lower tail right relative to its size, and its density.
struct Normal {
  vf below, density;
};
static inline Normal normal(vf x) {
  const vf a = vabs(x);
  const vf power = atLeast(x * x * -0.72134752044448170f, -126.0f);
  const vf e = choose(power > splat(-126.0f), exp2InRange(power), choose(x != x, x, zero()));
  // The part below -a over e is r q(t), t in [-1, 1): a minimax polynomial, within 4e-8 of it.
  const vf r = 1.0f / (a + 3.0f);
  const vf t = fma(splat(-6.0f), r, one());
  vf q = fma(t, splat(-2.72206647e-4f), splat(-9.11422947e-4f));
  q = fma(q, t, splat(1.07748678e-3f));
  q = fma(q, t, splat(6.92950189e-3f));
  q = fma(q, t, splat(-1.04795201e-2f));
  q = fma(q, t, splat(-4.72572222e-2f));
  q = fma(q, t, splat(2.30019256e-1f));
  q = fma(q, t, splat(-5.09332240e-1f));
  q = fma(q, t, splat(7.29083657e-1f));
  const vf tail = e * (r * q);
  return {choose(x < zero(), tail, 1.0f - tail), 0.39894228040143268f * e};
}
static inline vf geluSlope(vf x) {
  const Normal n = normal(x);
  return fma(x, n.density, n.below);
}
static inline vf geluInner(vf x) { return 0.79788456080286536f * (x + 0.044715f * x * x * x); }

#define MK_FUNCTION(Name, value, slope)                                                     \
  struct Name {                                                                             \
    static vf f(vf x, const Parameters& p) { return (void)x, (void)p, (value); }            \
    static vf derivative(vf x, const Parameters& p) { return (void)x, (void)p, (slope); }   \
  };

MK_FUNCTION(Identity, x, one())
MK_FUNCTION(Neg, -x, -one())
MK_FUNCTION(Abs, vabs(x), signOf(x))
MK_FUNCTION(Exp, exp(x), exp(x))
MK_FUNCTION(Log, log(x), 1.0f / x)
MK_FUNCTION(Sqrt, sqrt(x), 0.5f / sqrt(x))
MK_FUNCTION(Rsqrt, 1.0f / sqrt(x), -0.5f / (x * sqrt(x)))
MK_FUNCTION(Square, x * x, x + x)
MK_FUNCTION(Reciprocal, 1.0f / x, -1.0f / (x * x))
MK_FUNCTION(Tanh, tanh(x), sech2(x))
MK_FUNCTION(Relu, atLeast(x, 0.0f), within(x, 0.0f, __builtin_inff(), one()))
MK_FUNCTION(Relu6, atMost(atLeast(x, 0.0f), 6.0f), within(x, 0.0f, 6.0f, one()))
MK_FUNCTION(Gelu, x * normal(x).below, geluSlope(x))
MK_FUNCTION(Softplus, softplus(x), softplusSlope(x))
MK_FUNCTION(Elu, choose(x > zero(), x, p.alpha * expm1(x)), choose(x > zero(), one(), p.alpha * exp(x)))
MK_FUNCTION(LeakyRelu, choose(x > zero(), x, p.alpha * x), choose(x != x, x, choose(x > zero(), one(), p.alpha)))
MK_FUNCTION(Hardsigmoid, atMost(atLeast(x + 3.0f, 0.0f), 6.0f) / 6.0f, within(x, -3.0f, 3.0f, splat(1.0f / 6.0f)))
MK_FUNCTION(Hardswish, x * atMost(atLeast(x + 3.0f, 0.0f), 6.0f) / 6.0f,
            choose(x >= splat(3.0f), one(), within(x, -3.0f, 3.0f, x / 3.0f + 0.5f)))
MK_FUNCTION(Mish, x * tanh(softplus(x)), tanh(softplus(x)) + x * sech2(softplus(x)) * softplusSlope(x))
MK_FUNCTION(LogSigmoid, atMost(x, 0.0f) - log1p(exp(-vabs(x))), sigmoid(-x))
MK_FUNCTION(Affine, fma(p.alpha, x, p.beta), p.alpha)
MK_FUNCTION(Clamp, atMost(atLeast(x, p.alpha), p.beta),
            choose(x != x, x, truth((x >= p.alpha) & (x <= p.beta))))
MK_FUNCTION(Sign, signOf(x), choose(x != x, x, zero()))
MK_FUNCTION(Expm1, expm1(x), exp(x))
MK_FUNCTION(Log1p, log1p(x), 1.0f / (1.0f + x))
MK_FUNCTION(Erf, erf(x), 1.1283791670955126f * exp(-x * x))
MK_FUNCTION(Pow, pow(x, p.alpha),
            choose(p.alpha == zero(), zero(), p.alpha * pow(x, p.alpha - 1.0f)))
MK_FUNCTION(Not, truth(x == zero()), choose(x != x, x, zero()))
#undef MK_FUNCTION

struct Sigmoid {
  static vf f(vf x, const Parameters&) { return sigmoid(x); }
  static vf derivative(vf x, const Parameters&) {
    const vf s = sigmoid(x);
    return s * (1.0f - s);
  }
};
struct Silu {
  static vf f(vf x, const Parameters&) { return x * sigmoid(x); }
  static vf derivative(vf x, const Parameters&) {
    const vf s = sigmoid(x);
    return s * (1.0f + x * (1.0f - s));
  }
};
struct GeluTanh {
  static vf f(vf x, const Parameters&) { return 0.5f * x * (1.0f + tanh(geluInner(x))); }
  static vf derivative(vf x, const Parameters&) {
    const vf t = tanh(geluInner(x));
    const vf slope = 0.79788456080286536f * (1.0f + 0.134145f * x * x);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * slope;
  }
};
struct Sin {
  static vf f(vf x, const Parameters&) {
    vf sine, cosine;
    sincos(x, sine, cosine);
    return sine;
  }
  static vf derivative(vf x, const Parameters&) {
    vf sine, cosine;
    sincos(x, sine, cosine);
    return cosine;
  }
};
struct Cos {
  static vf f(vf x, const Parameters& p) { return Sin::derivative(x, p); }
  static vf derivative(vf x, const Parameters& p) { return -Sin::f(x, p); }
};
struct Floor {
  static vf f(vf x, const Parameters&) {
    // Values of 2^23 and above are whole already.
    const vi small = vabs(x) < splat(8388608.0f);
    const vf whole = __builtin_convertvector(__builtin_convertvector(choose(small, x, zero()), vi), vf);
    return choose(small, choose(whole > x, whole - 1.0f, whole), x);
  }
  static vf derivative(vf x, const Parameters&) { return choose(x != x, x, zero()); }
};

/// Calls body with the function of a code of `unaryFunctions`.
template <class Body>
static inline void withUnary(int code, Body&& body) {
  switch (code) {
    case 0: return body(Neg{});
    case 1: return body(Abs{});
    case 2: return body(Exp{});
    case 3: return body(Log{});
    case 4: return body(Sqrt{});
    case 5: return body(Rsqrt{});
    case 6: return body(Square{});
    case 7: return body(Reciprocal{});
    case 8: return body(Sin{});
    case 9: return body(Cos{});
    case 10: return body(Tanh{});
    case 11: return body(Sigmoid{});
    case 12: return body(Silu{});
    case 13: return body(Relu{});
    case 14: return body(Relu6{});
    case 15: return body(Gelu{});
    case 16: return body(GeluTanh{});
    case 17: return body(Softplus{});
    case 18: return body(Elu{});
    case 19: return body(LeakyRelu{});
    case 20: return body(Hardsigmoid{});
    case 21: return body(Hardswish{});
    case 22: return body(Mish{});
    case 23: return body(LogSigmoid{});
    case 24: return body(Affine{});
    case 25: return body(Clamp{});
    case 26: return body(Sign{});
    case 27: return body(Floor{});
    case 28: return body(Expm1{});
    case 29: return body(Log1p{});
    case 30: return body(Erf{});
    case 31: return body(Pow{});
    default: return body(Not{});
  }
}

/// Calls body with the function of a code of `activations`.
template <class Body>
static inline void withActivation(int code, Body&& body) {
  switch (code) {
    case 0: return body(Identity{});
    case 1: return body(Silu{});
    case 2: return body(Relu{});
    case 3: return body(Gelu{});
    case 4: return body(GeluTanh{});
    case 5: return body(Sigmoid{});
    case 6: return body(Tanh{});
    default: return body(Softplus{});
  }
}

}  // namespace MK_ISA
