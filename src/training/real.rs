//! The number types of training: `f32` to train, `f64` to check gradients against
//! finite differences with the same code.
//!
//! `exp` and `erf` of `f32` are branch-free polynomials, so that loops over them
//! become vector instructions; both are within a few units in the last place.

use candle_core::WithDType;
use pulp::Simd;
use std::ops::Neg;

/// A floating-point number, and registers full of them.
pub trait Real: WithDType + Neg<Output = Self> + Default {
    /// eˣ; underflows to about 1e-38 and not to 0.
    fn exp(self) -> Self;
    /// The error function.
    fn erf(self) -> Self;
    /// √x.
    fn sqrt(self) -> Self;
    /// self · a + b, rounded once.
    fn mul_add(self, a: Self, b: Self) -> Self;
    /// The larger of both; `self` if `other` is no number.
    fn larger(self, other: Self) -> Self;
    /// A register of these numbers.
    type Vector<S: Simd>: Copy;
    /// Numbers as registers, without those that fill none.
    fn vectors<S: Simd>(values: &[Self]) -> &[Self::Vector<S>];
    /// Numbers to write into as registers, without those that fill none.
    fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [Self::Vector<S>];
    /// A register of copies of `self`.
    fn splat<S: Simd>(self, simd: S) -> Self::Vector<S>;
    /// a + b.
    fn plus<S: Simd>(simd: S, a: Self::Vector<S>, b: Self::Vector<S>) -> Self::Vector<S>;
    /// a · b + c, rounded once where the machine can.
    fn fused<S: Simd>(
        simd: S,
        a: Self::Vector<S>,
        b: Self::Vector<S>,
        c: Self::Vector<S>,
    ) -> Self::Vector<S>;
}

/// The registers of a number type, by pulp's names for it.
macro_rules! registers {
    ($vector:ident, $vectors:ident, $vectors_mut:ident, $splat:ident, $plus:ident, $fused:ident) => {
        type Vector<S: Simd> = S::$vector;

        #[inline(always)]
        fn vectors<S: Simd>(values: &[Self]) -> &[S::$vector] {
            S::$vectors(values).0
        }

        #[inline(always)]
        fn vectors_mut<S: Simd>(values: &mut [Self]) -> &mut [S::$vector] {
            S::$vectors_mut(values).0
        }

        #[inline(always)]
        fn splat<S: Simd>(self, simd: S) -> S::$vector {
            simd.$splat(self)
        }

        #[inline(always)]
        fn plus<S: Simd>(simd: S, a: S::$vector, b: S::$vector) -> S::$vector {
            simd.$plus(a, b)
        }

        #[inline(always)]
        fn fused<S: Simd>(simd: S, a: S::$vector, b: S::$vector, c: S::$vector) -> S::$vector {
            simd.$fused(a, b, c)
        }
    };
}

impl Real for f32 {
    registers!(
        f32s,
        as_simd_f32s,
        as_mut_simd_f32s,
        splat_f32s,
        add_f32s,
        mul_add_e_f32s
    );

    /// Cephes `expf`: eˣ = 2ⁿ · e^r with |r| ≤ ln 2 / 2, and a polynomial of degree 5.
    #[inline(always)]
    fn exp(self) -> f32 {
        // 1.5 · 2²³: adding it rounds to an integer, which then lies in the low bits.
        const ROUND: f32 = 12_582_912.0;
        // ln 2 in two parts, the first of few bits so that n · LN2_HIGH is exact.
        const LN2_HIGH: f32 = 0.693_359_4;
        const LN2_LOW: f32 = -2.121_944_4e-4;
        let x = self.clamp(-87.3, 88.0);
        let shifted = f32::mul_add(x, std::f32::consts::LOG2_E, ROUND);
        let n = shifted - ROUND;
        let r = f32::mul_add(n, -LN2_LOW, f32::mul_add(n, -LN2_HIGH, x));
        let mut p = 1.987_569_1e-4;
        p = f32::mul_add(p, r, 1.398_199_9e-3);
        p = f32::mul_add(p, r, 8.333_452e-3);
        p = f32::mul_add(p, r, 4.166_579_6e-2);
        p = f32::mul_add(p, r, 1.666_666_5e-1);
        p = f32::mul_add(p, r, 5.0e-1);
        let fraction = f32::mul_add(p, r * r, r) + 1.0;
        let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
        let power = f32::from_bits(exponent.wrapping_add(127) << 23);
        fraction * power
    }

    /// The rational approximation of Eigen and XLA on [-4, 4], beyond which erf is ±1
    /// in `f32`.
    #[inline(always)]
    fn erf(self) -> f32 {
        let x = self.clamp(-4.0, 4.0);
        let y = x * x;
        let mut p = -2.726_142_3e-10;
        p = f32::mul_add(p, y, 2.770_681_4e-8);
        p = f32::mul_add(p, y, -2.101_024e-6);
        p = f32::mul_add(p, y, -5.692_506_4e-5);
        p = f32::mul_add(p, y, -7.349_906e-4);
        p = f32::mul_add(p, y, -2.954_6e-3);
        p = f32::mul_add(p, y, -1.609_603_3e-2);
        let mut q = -1.456_607_2e-5;
        q = f32::mul_add(q, y, -2.133_740_6e-4);
        q = f32::mul_add(q, y, -1.682_827e-3);
        q = f32::mul_add(q, y, -7.373_329e-3);
        q = f32::mul_add(q, y, -1.426_474e-2);
        x * p / q
    }

    #[inline(always)]
    fn sqrt(self) -> f32 {
        f32::sqrt(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f32, b: f32) -> f32 {
        f32::mul_add(self, a, b)
    }

    #[inline(always)]
    fn larger(self, other: f32) -> f32 {
        if other > self { other } else { self }
    }
}

impl Real for f64 {
    registers!(
        f64s,
        as_simd_f64s,
        as_mut_simd_f64s,
        splat_f64s,
        add_f64s,
        mul_add_e_f64s
    );

    #[inline(always)]
    fn exp(self) -> f64 {
        f64::exp(self)
    }

    #[inline(always)]
    fn erf(self) -> f64 {
        candle_core::cpu::erf::erf_f64(self)
    }

    #[inline(always)]
    fn sqrt(self) -> f64 {
        f64::sqrt(self)
    }

    #[inline(always)]
    fn mul_add(self, a: f64, b: f64) -> f64 {
        f64::mul_add(self, a, b)
    }

    #[inline(always)]
    fn larger(self, other: f64) -> f64 {
        if other > self { other } else { self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_and_erf_are_those_of_the_standard_to_a_few_units_in_the_last_place() {
        for step in -8700..8700 {
            let x = step as f32 * 0.01;
            let (ours, exact) = (Real::exp(x) as f64, (x as f64).exp());
            assert!((ours / exact - 1.0).abs() < 3e-7, "exp {x}: {ours} {exact}");
            let x = step as f32 * 0.001;
            let (ours, exact) = (Real::erf(x) as f64, Real::erf(x as f64));
            assert!((ours - exact).abs() < 4e-7, "erf {x}: {ours} {exact}");
        }
        assert!(Real::exp(f32::NAN).is_nan() && Real::erf(f32::NAN).is_nan());
    }
}
